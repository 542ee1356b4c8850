"""Bills, attempts to hold against them, and the command that does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from gateway.cli import app
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.imports import ImportJournal
from tests.ledger.samples import NOON_US, line
from tests.reconciliation.rows import broken_off, price

HOUR_US = 3600 * 1_000_000
L40S = Decimal("0.000975")
CONFIG = """
deployments:
  my-llm: {provider: modal, model: m, app: my-app, function: f, price: modal-h100}
providers:
  modal: {token_id: ak-x, token_secret: as-x}
models:
  llm: {deployments: [my-llm]}
"""


def ran(number: int, seconds: str, *, hours: float = 0, **changes: Any) -> AttemptRow:
    """An attempt that ran for so long on an L40S, some hours after noon of 22 November."""
    at_us = NOON_US + round(hours * HOUR_US)
    pico = int(Decimal(seconds) * L40S * 10**12)
    usd = format(Decimal(pico).scaleb(-12), "f")
    lines = [line("execute_seconds", seconds, usd)]
    lines[0] |= {"unit_price_usd": str(L40S), "price_id": "replicate-gpu-l40s@2026-05-07"}
    usual: dict[str, Any] = {
        "status": "succeeded",
        "error_type": None,
        "begun_at_us": at_us,
        "operation_at_us": at_us,
        "completed_at_us": at_us + 10 * 10**6,
        "provider_model": "owner/model",
        "cost_status": "measured",
        "cost_pico_usd": pico,
        "known_pico_usd": pico,
        "low_pico_usd": pico,
        "high_pico_usd": pico,
        "cost_lines": lines,
        "pending": [],
    }
    return replace(broken_off(number), **(usual | changes))


def reconciled(
    tmp_path: Path, rows: Iterable[AttemptRow], bill: str, *options: str, status: int = 0
) -> Any:
    """What the command says in JSON."""
    data_dir, path = tmp_path / "data", tmp_path / "bill.csv"
    with ImportJournal(data_dir) as journal:
        journal.write(rows)
    path.write_text(bill)
    given = ["--bill", str(path), "--data-dir", str(data_dir), "--json", *options]
    if "--provider" not in options:
        given += ["--provider", "replicate"]
    result = CliRunner().invoke(app, ["reconcile", *given])
    assert result.exit_code == status, (result.output, result.exception)
    return json.loads(result.output)


def groups(said: Any) -> dict[str, Any]:
    return {group["what"]: group for group in said["groups"]}


def bill_of(*lines: str, header: str = "job_id,start_time,model,cost_usd") -> str:
    return "\n".join([header, *lines]) + "\n"


def day(text: str = "22T12:00") -> str:
    return f"2026-11-{text}:00Z"


MODAL = "Object ID,Description,Environment,Interval Start,Cost\n"
H100: dict[str, Any] = {
    "provider": "modal",
    "deployment": "my-llm",
    "provider_model": "m",
    "pending": ["idle"],
    "price": price("modal-h100"),
}


def modal_bill(*costs: tuple[str, str, str]) -> str:
    lines = [f"ap-1,{app},main,2026-11-{day}T00:00:00,{usd}" for app, day, usd in costs]
    return MODAL + "\n".join(lines) + "\n"
