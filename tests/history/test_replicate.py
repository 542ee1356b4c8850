"""``gateway import replicate`` against the emulator's own list of predictions."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.care.inspect import verify
from gateway.ledger.layout import metrics_path
from tests.acceptance.gateways import Ran, run, serving, until
from tests.emulators.clock import DAY_ONE
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import INTERRUPTED, MODELS
from tests.emulators.replicate_world import Made, Model, World

CONFIG = """
server: {{data_dir: "{data_dir}"}}
providers:
  replicate: {{api_token: "{key}", base_url: "{url}/v1", poll_seconds: 0.02}}
deployments:
  warm-l40s: {{provider: replicate, model: emulated/warm, price: replicate-gpu-l40s,
               hardware: gpu-l40s}}
models:
  chat: {{deployments: [warm-l40s]}}
"""
SINCE = ("--since", "2026-10-01", "--until", "2026-12-31")
BROKEN = Model(error=INTERRUPTED, execute_seconds=3.0, boot_seconds=20.0)
MANY = 230


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    """An account with 230 predictions behind it, most of them long over."""
    app = Replicate()
    app.url = emulator(app)
    for number in range(MANY):
        if number % 50 == 7:
            made = app.world.make("emulated/broken", BROKEN, {"prompt": "secret words"})
        else:
            model = replace(MODELS["warm"], execute_seconds=1.0 + number / 1000)
            made = app.world.make("emulated/warm", model, {"prompt": "secret words"})
        app.world.advance((made.completed - app.world.now).total_seconds() + 600)
        app.world.extend(app.world.now)
    return app


@pytest.fixture
def config(app: Replicate, tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yml"
    path.write_text(CONFIG.format(url=app.url, key=app.key, data_dir=tmp_path / "data"))
    return path


def imports(config: Path, *more: str, since: tuple[str, ...] = SINCE) -> Any:
    ran = run("import", "replicate", "--config", config, *since, "--json", *more)
    assert ran.status == 0, ran
    return json.loads(ran.out)


def rows(tmp_path: Path) -> dict[str, dict[str, Any]]:
    database = sqlite3.connect(tmp_path / "data/ledger.sqlite3")
    database.row_factory = sqlite3.Row
    try:
        return {row["upstream_id"]: dict(row) for row in database.execute("SELECT * FROM attempts")}
    finally:
        database.close()


def usd(made: Made) -> int:
    return int(made.billed_usd * 10**12)


def test_every_prediction_becomes_a_row_with_its_bill(
    app: Replicate, config: Path, tmp_path: Path
) -> None:
    said = imports(config)
    assert (said["read"], said["added"], said["unpriced"]) == (MANY, MANY, 5)
    assert said["by_status"] == {"succeeded": MANY - 5, "failed": 5}
    assert said["oldest"] == "2026-11-01T00:00:00.000000Z"
    assert len(app.sent("GET", "/predictions")) == 3  # a hundred a page
    again = run("import", "replicate", "--config", config, *SINCE, "--csv")
    (told,) = csv.DictReader(io.StringIO(again.out))
    assert (told["added"], told["already_imported"]) == ("0", str(MANY))
    found = rows(tmp_path)
    assert found.keys() == app.world.made.keys()
    for made in app.world.made.values():
        row = found[made.id]
        assert (row["origin"], row["status"]) == ("imported", made.status)
        assert row["execute_seconds"] == pytest.approx(made.execute_seconds, abs=1e-6)
        assert row["verdict"] == ("cold" if made.cold else "warm")
        if made.name == "emulated/warm":
            assert (row["deployment"], row["model"]) == ("warm-l40s", "chat")
            assert (row["cost_status"], row["cost_pico_usd"]) == ("measured", usd(made))
            assert row["input_tokens_source"] == "reported"
        else:
            assert (row["cost_status"], row["cost_pico_usd"]) == ("unknown", None)
            assert row["error_type"] == "UpstreamFailed"
    assert "secret" not in (tmp_path / "data/ledger.sqlite3").read_bytes().decode("latin-1")
    assert verify(tmp_path / "data") == []


def test_importing_twice_adds_nothing_and_hardware_prices_the_rest(
    config: Path, tmp_path: Path
) -> None:
    first = imports(config, "--hardware", "gpu-t4")
    assert (first["added"], first["unpriced"]) == (MANY, 0)
    broken = [row for row in rows(tmp_path).values() if row["status"] == "failed"]
    assert {row["cost_pico_usd"] for row in broken} == {int(Decimal("3") * 225 * 10**6)}
    assert {row["hardware"] for row in broken} == {"gpu-t4"}
    again = imports(config)
    assert (again["read"], again["added"], again["already_imported"]) == (MANY, 0, MANY)
    assert verify(tmp_path / "data") == []


def test_beside_a_running_gateway_nothing_is_counted_twice(
    emulator: Callable[[Any], str], tmp_path: Path
) -> None:
    app = Replicate(World(begins=datetime.now(UTC) - timedelta(minutes=10)))
    app.url = emulator(app)
    app.world.make("emulated/warm", MODELS["warm"], {"prompt": "elsewhere"})
    app.world.advance(5)
    config = tmp_path / "gateway.yml"
    config.write_text(CONFIG.format(url=app.url, key=app.key, data_dir=tmp_path / "data"))
    with serving(config, tmp_path / "data", tmp_path / "log") as gateway:
        live = gateway.generate("chat")
        said = imports(config, since=("--since", "1d"))
        assert (said["read"], said["added"], said["went_through_the_gateway"]) == (2, 1, 1)
        (costs,) = gateway.get("/v1/costs")["data"]
        assert costs["attempts"] == 2
        assert Decimal(costs["known_usd"]) == 2 * Decimal(live["cost"]["total_usd"])
        # The file of metrics is written at most once a second, and what was imported is not in it.
        until(lambda: counted(gateway.call("GET", "/metrics").raw.decode()))
    assert counted(metrics_path(tmp_path / "data").read_text()) == 1  # the last one, at the end
    assert (tmp_path / "log").read_text().count('"event":"attempt"') == 1
    assert verify(tmp_path / "data") == []


def counted(metrics: str) -> float:
    lines = [x for x in metrics.splitlines() if x.startswith("gateway_attempts_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_run_that_broke_off_is_gone_on_with(app: Replicate, config: Path, tmp_path: Path) -> None:
    ran = broken_off(config, app)
    assert ran.status == 2 and "the next run goes on from there" in ran.err
    assert app.key not in ran.err
    before = len(app.sent("GET", "/predictions"))
    said = imports(config)
    assert said["added"] == MANY - 100
    assert len(app.sent("GET", "/predictions")) - before == 3
    assert len(rows(tmp_path)) == MANY
    assert not (tmp_path / "data/imports/replicate.json").exists()


def broken_off(config: Path, app: Replicate) -> Ran:
    app.refused_pages = (2,)
    try:
        return run("import", "replicate", "--config", config, *SINCE)
    finally:
        app.refused_pages = ()


def test_the_list_may_end_before_what_was_asked_for(app: Replicate, config: Path) -> None:
    app.world.list_begins = DAY_ONE + timedelta(hours=24)
    ran = run("import", "replicate", "--config", config, *SINCE)
    assert ran.status == 0
    assert "They go back to 2026-11-02T" in ran.out
    assert "asked for was 2026-10-01T00:00:00.000000Z" in ran.out


def test_a_wrong_key_and_a_wrong_name_are_said(config: Path, app: Replicate) -> None:
    app.key = "r8_another"
    ran = run("import", "replicate", "--config", config)
    assert (ran.status, "did not accept the gateway's credentials" in ran.err) == (2, True)
    ran = run("import", "replicate", "--config", config, "--hardware", "gpu-x")
    assert (ran.status, "replicate-gpu-l40s" in ran.err) == (2, True)
    ran = run("import", "replicate", "--config", config, "--map", "a/b=nowhere")
    assert (ran.status, "no deployment is called 'nowhere'" in ran.err) == (2, True)
