"""kill -9 in the middle of paid work: the next gateway finds out what it really cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acceptance.gateways import Gateway, serving, until
from tests.emulators.modal import TOKEN, Modal, serve_modal
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_world import Model, World
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_world import RATE_USD, Handler
from tests.emulators.runpod_world import World as RunPodWorld

REPLICATE = """
reconciliation: {{every_seconds: 0.1, first_pause_seconds: 0.1}}
providers:
  replicate: {{api_token: "{key}", base_url: "{url}/v1", poll_seconds: 0.05}}
deployments:
  slow: {{provider: replicate, model: emulated/slow, price: replicate-gpu-l40s, input: payload}}
models:
  slow: {{deployments: [slow]}}
budgets:
  - {{name: everything, limit_usd: "100", per: total}}
"""
MODAL = """
reconciliation: {{every_seconds: 0.1, first_pause_seconds: 0.1}}
providers:
  modal: {{server_url: "{url}", token_id: "{key[0]}", token_secret: "{key[1]}"}}
deployments:
  slow: {{provider: modal, model: m, app: emulated, function: slow-first-delta, price: modal-h100}}
models:
  slow: {{deployments: [slow]}}
"""

RUNPOD = """
reconciliation: {{every_seconds: 0.1, first_pause_seconds: 0.1}}
providers:
  runpod:
    api_key: "{key}"
    base_url: "{url}/v2"
    management_url: "{url}/rest/v2"
    poll_seconds: 0.05
deployments:
  slow: {{provider: runpod, model: m, endpoint: slow, price: runpod-l40s}}
models:
  slow: {{deployments: [slow]}}
"""


def written(text: str, tmp_path: Path, **values: Any) -> Path:
    path = tmp_path / "gateway.yml"
    path.write_text(text.format(**values))
    return path


def settled(gateway: Gateway, operation_id: str) -> Any:
    """The operation, once something has come of asking."""
    path = f"/v1/operations/{operation_id}"
    until(lambda: "lookup" in gateway.get(path)["attempts"][0], 45)
    return gateway.get(path)


def lines(data_dir: Path, kind: str) -> list[Any]:
    """The whole lines of a kind in the journal."""
    found = []
    for path in sorted((data_dir / "journal").glob("*.ndjson")):
        with suppress(FileNotFoundError):  # shipped and deleted since it was listed
            found += [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    return [line for line in found if line["kind"] == kind]


def interrupt(
    config: Path,
    data_dir: Path,
    log: Path,
    began: Callable[[], bool],
    serves: Callable[[], None] = lambda: None,
) -> str:
    """Kill a gateway when the work has begun; gives the operation that it was about."""
    with serving(config, data_dir, log) as first:
        serves()
        with first.stream("slow", input={"prompt": "Say something."}) as events:
            operation_id: str = next(events)[1]["id"]
            until(began)
            first.kill()
    return operation_id


def test_the_row_becomes_replicates_own_bill(
    emulator: Callable[[Any], str], tmp_path: Path
) -> None:
    app = Replicate(World(scale=4.0))
    app.models["emulated/slow"] = Model(output="text", execute_seconds=13.7, always_warm=True)
    app.url = emulator(app)
    config = written(REPLICATE, tmp_path, url=app.url, key=app.key)
    data_dir = tmp_path / "data"

    def began() -> bool:
        return bool(lines(data_dir, "accepted")) and (
            app.world.status_of(app.last()) == "processing"
        )

    operation_id = interrupt(config, data_dir, tmp_path / "first.log", began)
    made = app.last()
    assert app.world.status_of(made) == "processing"  # it goes on, and bills, without us
    with serving(config, data_dir, tmp_path / "second.log") as second:
        operation = settled(second, operation_id)
        looks = made.looks
        assert Decimal(operation["cost"]["total_usd"]) == made.billed_usd == Decimal("0.0133575")
        assert operation["cost"]["status"] == "measured"
        assert operation["cost"]["range_usd"] is None
        assert operation["status"] == "interrupted"  # for its caller it still is
        assert operation["timing"]["execute_seconds"] == 13.7
        assert operation["cold_start"]["verdict"] == "warm"
        assert operation["attempts"][0]["upstream_id"] == made.id
        assert operation["attempts"][0]["lookup"] == "looked_up"
        # The budget counted the most that it could have been; it hears of the bill meanwhile.
        billed = [f"{made.billed_usd.normalize():f}"]
        until(lambda: [b["spent_usd"] for b in second.get("/v1/budgets")["data"]] == billed, 15)
    # What was asked is not asked again, not even by another gateway.
    with serving(config, data_dir, tmp_path / "third.log") as third:
        time.sleep(0.5)  # five rounds of another process, whose clock is nobody's to move
        assert third.get(f"/v1/operations/{operation_id}") == operation
    assert made.looks == looks


def test_a_job_whose_id_never_came_is_found_by_its_time(
    emulator: Callable[[Any], str], tmp_path: Path
) -> None:
    app = Replicate(World())
    model = Model(output="text", execute_seconds=8.0, always_warm=True, create_seconds=4.0)
    app.models["emulated/slow"] = model
    app.url = emulator(app)
    config = written(REPLICATE, tmp_path, url=app.url, key=app.key)
    data_dir = tmp_path / "data"

    def set_its_clock() -> None:  # as late as can be: it stands until the first job
        app.world = World(scale=4.0, begins=datetime.now(UTC))

    log = tmp_path / "first.log"
    operation_id = interrupt(
        config, data_dir, log, lambda: bool(app.world.made), serves=set_its_clock
    )
    with serving(config, data_dir, tmp_path / "second.log") as second:
        operation = settled(second, operation_id)
    made = app.last()
    attempt = operation["attempts"][0]
    assert (attempt["upstream_id"], attempt["lookup"]) == (made.id, "found")
    assert Decimal(operation["cost"]["total_usd"]) == made.billed_usd
    assert [line["reason"] for line in lines(data_dir, "correct")] == ["found"]


def test_runpod_knows_the_job_for_half_an_hour(
    emulator: Callable[[Any], str], tmp_path: Path
) -> None:
    app = RunPod(RunPodWorld(scale=4.0))
    app.endpoint("slow", Handler(output="text", execute_seconds=13.7, always_warm=True))
    app.url = emulator(app)
    config = written(RUNPOD, tmp_path, url=app.url, key=app.key)
    data_dir = tmp_path / "data"

    def began() -> bool:
        return bool(lines(data_dir, "accepted")) and (
            app.world.status_of(app.last()) == "IN_PROGRESS"
        )

    operation_id = interrupt(config, data_dir, tmp_path / "first.log", began)
    assert app.world.status_of(app.last()) == "IN_PROGRESS"
    with serving(config, data_dir, tmp_path / "second.log") as second:
        operation = settled(second, operation_id)
    assert len(app.world.made) == 1
    assert operation["attempts"][0]["upstream_id"] == app.last().id
    assert operation["attempts"][0]["lookup"] == "looked_up"
    assert operation["timing"]["execute_seconds"] == 13.7
    assert operation["cold_start"]["verdict"] == "warm"
    assert operation["cost"]["status"] == "measured"
    assert Decimal(operation["cost"]["total_usd"]) == Decimal("13.7") * RATE_USD


def test_modal_tells_what_its_call_did(tmp_path: Path) -> None:
    with serve_modal(speed=20.0) as modal:
        config = written(MODAL, tmp_path, url=modal.url, key=TOKEN)
        data_dir = tmp_path / "data"

        def began() -> bool:
            started = any(call.started_at for call in modal.calls("slow-first-delta"))
            return started and bool(lines(data_dir, "accepted"))

        operation_id = interrupt(config, data_dir, tmp_path / "first.log", began)
        with serving(config, data_dir, tmp_path / "second.log") as second:
            operation = settled(second, operation_id)
        check_modal(modal, operation)


def check_modal(modal: Modal, operation: Any) -> None:
    (call,) = modal.calls("slow-first-delta")
    truth = modal.world.truth(call)
    assert operation["attempts"][0]["upstream_id"] == call.id
    assert operation["cold_start"]["verdict"] == "cold"
    # A container that was made after the call was made for it, or for one that waited as well.
    assert operation["cold_start"]["caused_boot"] is None
    assert operation["cost"]["status"] == "estimated"
    paid = Decimal(operation["cost"]["total_usd"])
    low, high = (Decimal(operation["cost"]["range_usd"][end]) for end in ("low", "high"))
    assert low < paid == high
    seconds = Decimal(round(truth.boot_seconds, 3)) + Decimal(round(truth.execute_seconds, 3))
    assert abs(paid - seconds * Decimal("0.001097")) < Decimal("0.00001")
    assert operation["cost"]["pending"] == ["idle"]
