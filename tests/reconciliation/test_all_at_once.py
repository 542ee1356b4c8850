"""A death, a later word, another price, imports, a month that goes: the books stay one."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acceptance.gateways import COMMAND, ENVIRONMENT, Gateway, serving, until
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_world import Model, World
from tests.reconciliation.test_deaths import interrupt, lines, settled

CONFIG = """
reconciliation: {{every_seconds: 0.1, first_pause_seconds: 0.1}}
ledger: {{rollup_tags: [team]}}
budgets: [{{name: all, limit_usd: "5", per: total}}]
providers:
  replicate: {{api_token: "{key}", base_url: "{url}/v1", poll_seconds: 0.05}}
deployments:
  slow:
    provider: replicate
    model: emulated/slow
    price: {{usd_per_second: "{rate}", bills: [execute, boot]}}
    input: payload
models:
  slow: {{deployments: [slow]}}
"""
EVER = "start_time=2020-01-01T00:00:00Z"


def run(*arguments: str | Path) -> str:
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def costs(gateway: Gateway) -> dict[str, Any]:
    """Rows of the cost report by deployment, once the database has caught up."""
    path = f"/v1/costs?group_by=deployment&{EVER}"
    until(lambda: "as_of" not in gateway.get(path), 45)
    return {row["group"]["deployment"]: row for row in gateway.get(path)["data"]}


def spent(gateway: Gateway) -> str:
    def told() -> Any:
        return gateway.get("/v1/budgets")["data"][0]["spent_usd"]

    until(lambda: told() is not None, 45)
    return str(told())


def focus(*at: str | Path) -> list[dict[str, str]]:
    exported = run("ledger", "export", "--format", "focus", *at)
    return list(csv.DictReader(io.StringIO(exported)))


def test_books_through_it_all(emulator: Callable[[Any], str], tmp_path: Path) -> None:
    app = Replicate(World(scale=4.0))
    app.models["emulated/slow"] = Model(output="text", execute_seconds=4.0, always_warm=True)
    app.url = emulator(app)
    config, data_dir = tmp_path / "gateway.yml", tmp_path / "data"
    at: tuple[str | Path, ...] = ("--config", config, "--data-dir", data_dir)
    began = datetime.now(UTC)

    def configure(rate: str) -> None:
        config.write_text(CONFIG.format(url=app.url, key=app.key, rate=rate))

    configure("0.001")
    with serving(config, data_dir, tmp_path / "first.log") as gateway:
        whole = gateway.generate("slow", input={"prompt": "Say."}, tags={"team": "a"})
    first = whole["attempts"][0]["id"]  # whose lines may be shipped and deleted meanwhile

    def has_a_job() -> bool:
        return any(line["attempt_id"] != first for line in lines(data_dir, "accepted"))

    killed = interrupt(config, data_dir, tmp_path / "second.log", has_a_job)
    jobs = tmp_path / "jobs.csv"
    jobs.write_text(
        "upstream_id,created_at,model,status,execute_seconds,cost_usd\n"
        f"old,{(began - timedelta(days=70)).isoformat()},other/model,succeeded,2,0.5\n"
        f"new,{(began - timedelta(seconds=9)).isoformat()},other/model,succeeded,2,0.25\n"
        f"free,{(began - timedelta(seconds=9)).isoformat()},other/model,succeeded,3,\n"
    )
    run("import", "csv", jobs, "--provider", "elsewhere", *at)
    with serving(config, data_dir, tmp_path / "third.log") as gateway:
        assert settled(gateway, killed)["cost"]["total_usd"] == "0.004"  # the provider's word
        assert costs(gateway)["slow"]["known_usd"] == "0.008"
        # A price of later, written by another process while this one runs.
        configure("0.002")
        run("reprice", "--since", began.isoformat(), "--apply", *at)
        for operation_id in (whole["id"], killed):
            path = f"/v1/operations/{operation_id}"
            until(lambda path=path: gateway.get(path)["cost"]["total_usd"] == "0.008", 45)  # type: ignore[misc]
        before = costs(gateway)
        assert before["slow"]["known_usd"] == "0.016"
        run("ledger", "prune", "--before", f"{began - timedelta(days=38):%Y-%m}", *at)
        after = costs(gateway)
        for name, row in before.items():  # a month without its rows has its sums still
            assert {**row, "end_time": None} == {**after[name], "end_time": None}
        other = after["other/model"]
        assert (other["known_usd"], other["unknown_attempts"]) == ("0.75", 1)
        assert "The ledger is sound." in run("ledger", "verify", *at)
    with serving(config, data_dir, tmp_path / "fourth.log") as gateway:
        assert spent(gateway) == "0.016"  # what was imported is no spending of a budget's
        assert costs(gateway)["slow"]["known_usd"] == "0.016"
    assert "The ledger is sound." in run("ledger", "verify", *at)
    rows = focus(*at)
    assert sum(Decimal(row["BilledCost"]) for row in rows if row["BilledCost"]) == Decimal("0.266")
    (unknown,) = [row for row in rows if not row["BilledCost"]]
    assert (unknown["x_CostStatus"], unknown["EffectiveCost"]) == ("unknown", "")
    assert {row["x_Origin"] for row in rows} == {"live", "imported"}
