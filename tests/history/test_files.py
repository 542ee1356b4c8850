"""``gateway import modal`` and ``gateway import csv``: files into rows."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.care.inspect import verify
from tests.acceptance.gateways import run, run_all
from tests.adapters.modal_help import ask, deployment, usd
from tests.emulators.modal import Modal, serve_modal

CONFIG = """
deployments:
  my-llm: {provider: modal, model: m, app: a, function: f, price: modal-h100, hardware: H100}
providers:
  modal: {token_id: ak-x, token_secret: as-x}
models:
  llm: {deployments: [my-llm]}
"""
HEADER = "upstream_id,created_at,model,status,boot_seconds,execute_seconds,output_tokens,cost_usd\n"


@pytest.fixture
def modal() -> Iterator[Modal]:
    with serve_modal(speed=100.0) as modal:
        yield modal


def exported(modal: Modal) -> list[dict[str, Any]]:
    """What `modal function calls --json` of modal 1.6.4 prints of the emulator's calls."""

    def stamp(at: float | None) -> str | None:
        if at is None:
            return None
        return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")

    return [
        {
            "function_call_id": call.id,
            "service_method_name": None,
            "enqueued_at": stamp(call.created_at),
            "started_at": stamp(call.started_at),
            "container_id": call.container.id if call.container else None,
            "startup_time_seconds": 12.0,
            "execution_time_seconds": (call.ended_at or 0) - (call.started_at or 0),
            "status": "success",
        }
        for call in modal.calls("warm")
    ]


def rows(data_dir: Path) -> list[dict[str, Any]]:
    database = sqlite3.connect(data_dir / "ledger.sqlite3")
    database.row_factory = sqlite3.Row
    try:
        found = database.execute("SELECT * FROM attempts ORDER BY begun_at_us")
        return [dict(row) for row in found]
    finally:
        database.close()


async def test_modals_calls_are_judged_and_priced_as_live_ones(
    modal: Modal, tmp_path: Path
) -> None:
    async with deployment(modal, function="warm") as bound:
        await ask(bound)
        await ask(bound)
    path, config, data_dir = tmp_path / "calls.json", tmp_path / "gateway.yml", tmp_path / "data"
    pending = exported(modal)[0] | {"function_call_id": "fc-1", "status": "pending"}
    path.write_text(json.dumps([*reversed(exported(modal)), pending]))
    config.write_text(CONFIG)
    ran = run("import", "modal", path, "-c", config, "--data-dir", data_dir, "--deployment=my-llm")
    assert ran.status == 0, ran
    assert "3 jobs read: 2 added" in ran.out and "1 unfinished" in ran.out
    again = run("import", "modal", path, "-c", config, "--data-dir", data_dir, "--csv")
    assert next(csv.DictReader(io.StringIO(again.out)))["already_imported"] == "2"
    for row, truth in zip(rows(data_dir), modal.truths("warm"), strict=True):
        assert (row["verdict"] == "cold") == truth.cold
        assert (row["deployment"], row["hardware"], row["model"]) == ("my-llm", "H100", "llm")
        assert row["instance_id"] == truth.container_id
        assert row["cost_status"] == "measured"
        expected = usd(truth.execute_seconds + truth.boot_seconds)
        assert abs(Decimal(row["cost_pico_usd"]).scaleb(-12) - expected) < Decimal("0.00001")
    assert verify(data_dir) == []


def test_a_csv_file_with_the_documented_header(tmp_path: Path) -> None:
    path, data_dir = tmp_path / "jobs.csv", tmp_path / "data"
    path.write_text(
        HEADER
        + "a,2026-11-01T10:00:00Z,llama,succeeded,0,2.5,,\n"
        + "b,2026-11-01 11:00:00,llama,failed,12,3,40,0.0123\n"
        + "c,2026-11-01T12:00:00+02:00,llama,cancelled,,,0,0\n"
    )
    command = ("import", "csv", path, "--data-dir", data_dir, "--provider", "acme")
    first, second, third = run(*command), run(*command, "--json"), run(*command, "--csv")
    assert "3 added" in first.out and "1 whose cost is unknown" in first.out, first
    assert json.loads(second.out)["already_imported"] == 3
    assert next(csv.DictReader(io.StringIO(third.out)))["already_imported"] == "3"
    by_id = {row["upstream_id"]: row for row in rows(data_dir)}
    assert (by_id["a"]["verdict"], by_id["a"]["cost_pico_usd"]) == ("warm", None)
    assert (by_id["b"]["verdict"], by_id["b"]["cost_pico_usd"]) == ("cold", 12_300_000_000)
    assert (by_id["c"]["cost_pico_usd"], by_id["c"]["output_tokens"]) == (0, 0)
    assert by_id["c"]["execute_seconds"] is None and by_id["a"]["output_tokens"] is None
    assert verify(data_dir) == []


@pytest.mark.parametrize("year", ["0001", "1970", "9999"])
def test_a_time_that_cannot_be_is_none(tmp_path: Path, year: str) -> None:
    """Such a row would belong to no month, and nothing would be moved or deleted any more."""
    path, data_dir = tmp_path / "jobs.csv", tmp_path / "data"
    path.write_text(
        HEADER
        + f"a,{year}-12-31T23:59:59Z,m,succeeded,,3,,\n"
        + "b,2026-08-01T00:00:00Z,m,succeeded,,3,,\n"
    )
    ran = run("import", "csv", path, "--provider", "other", "--data-dir", data_dir)
    assert ran.status == 0 and "2 jobs read: 1 added" in ran.out, ran
    assert "1 unfinished or undated" in ran.out
    assert run("ledger", "migrate", "--data-dir", data_dir).status == 0
    assert verify(data_dir) == []


def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path) -> None:
    files = {
        "header.csv": "upstream_id,when\n",
        "cell.csv": HEADER + "a,2026-11-01T10:00:00Z,m,succeeded,0,fast,,\n",
        "negative.csv": HEADER + "a,2026-11-01T10:00:00Z,m,succeeded,,,,-1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "no.json").write_text('{"calls": []}')
    data = ("--data-dir", tmp_path / "data")
    commands: list[Any] = [
        ("import", "csv", tmp_path / name, "--provider", "p", *data) for name in files
    ]
    wanted = ["created_at is missing", "line 2: execute_seconds", "line 2: cost_usd"]
    for command, words in zip(commands, wanted, strict=True):
        ran = run(*command)  # one import at a time in one folder
        assert ran.status == 2 and words in ran.err, ran
    (ran,) = run_all([("import", "modal", tmp_path / "no.json", *data)])
    assert ran.status == 2 and "modal function calls --json" in ran.err
