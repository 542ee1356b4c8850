"""Rows and journals for tests of the ledger."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from gateway.ledger.layout import journal_dir, journal_names
from gateway.ledger.rows import AttemptRow, ChargeRow

NOON_US = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z
PICO = 10**12


def pico(usd: str) -> int:
    return int(Decimal(usd) * PICO)


def begun(number: int = 0, **changes: Any) -> AttemptRow:
    at_us = changes.pop("at_us", NOON_US + number)
    row = AttemptRow(
        attempt_id=f"att_{number:06d}",
        operation_id=f"gen_{number:06d}",
        ordinal=0,
        route="/v1/generate",
        streamed=False,
        model="smollm2",
        deployment="local-smollm2",
        provider="local",
        provider_model="smollm2-135m-instruct",
        config_revision="r1",
        begun_at_us=at_us,
        operation_at_us=at_us,
        tags={"team": "search"},
        price={"name": "local-cpu", "usd_per_second": "0.0001", "source": "the operator"},
        reserved_pico_usd=pico("0.09"),
    )
    return replace(row, **changes)


def line(
    kind: str, quantity: str | None, usd: str | None, status: str = "measured"
) -> dict[str, Any]:
    return {
        "kind": kind,
        "quantity": quantity,
        "unit_price_usd": "0.0001",
        "usd": usd,
        "price_id": "local-cpu@2026-11-01",
        "status": status,
    }


def finished(row: AttemptRow, **changes: Any) -> AttemptRow:
    """The row of an attempt that took 0.31 s after a boot of 0.62 s, for 0.000093 USD."""
    lines = [line("execute_seconds", "0.31", "0.000031"), line("boot_seconds", "0.62", "0.000062")]
    usual: dict[str, Any] = {
        "status": "succeeded",
        "completed_at_us": row.begun_at_us + 950_000,
        "finish_reason": "stop",
        "verdict": "cold",
        "evidence": "process_started",
        "caused_boot": True,
        "boot_seconds": 0.62,
        "wait_seconds": 0.62,
        "first_output_seconds": 0.71,
        "execute_seconds": 0.31,
        "gateway_seconds": 0.001,
        "total_seconds": 0.95,
        "input_tokens": 12,
        "input_tokens_source": "reported",
        "output_tokens": 40,
        "output_tokens_source": "reported",
        "cost_status": "measured",
        "cost_pico_usd": pico("0.000093"),
        "known_pico_usd": pico("0.000093"),
        "low_pico_usd": pico("0.000093"),
        "high_pico_usd": pico("0.000093"),
        "cost_lines": lines,
        "pending": ["idle"],
    }
    return replace(row, **(usual | changes))


def priced(row: AttemptRow, usd: str, **changes: Any) -> AttemptRow:
    """A finished row whose one line costs ``usd``."""
    cost = pico(usd)
    money = {"cost_pico_usd": cost, "known_pico_usd": cost, "low_pico_usd": cost}
    lines = [line("execute_seconds", "1", usd)]
    return finished(row, **{**money, "high_pico_usd": cost, "cost_lines": lines, **changes})


def estimated(row: AttemptRow, low: str, usd: str, high: str | None, **changes: Any) -> AttemptRow:
    return finished(
        row,
        cost_status="estimated",
        cost_pico_usd=pico(usd),
        known_pico_usd=pico(usd),
        low_pico_usd=pico(low),
        high_pico_usd=None if high is None else pico(high),
        cost_lines=[line("execute_seconds", "1", usd, "estimated")],
        **changes,
    )


def unpriced(row: AttemptRow, known: str = "0", **changes: Any) -> AttemptRow:
    """A finished row with a line that nobody can price."""
    lines = [line("images", None, None, "unknown")]
    if known != "0":
        lines.append(line("execute_seconds", "2", known))
    return finished(
        row,
        cost_status="unknown",
        cost_pico_usd=None,
        known_pico_usd=pico(known),
        low_pico_usd=pico(known),
        high_pico_usd=None,
        cost_lines=lines,
        **changes,
    )


def idle_charge(number: int = 0, **changes: Any) -> ChargeRow:
    row = ChargeRow(
        charge_id=f"chg_{number:06d}",
        kind="idle",
        deployment="local-smollm2",
        provider="local",
        period_start_at_us=NOON_US,
        period_end_at_us=NOON_US + 60_000_000,
        rule="on the attempt that ended last before it",
        status="measured",
        quantity="60",
        unit_price_usd="0.0001",
        price_id="local-cpu@2026-11-01",
        cost_pico_usd=pico("0.006"),
    )
    return replace(row, **changes)


def read_journal(data_dir: Path) -> list[dict[str, Any]]:
    """Every line of every file, in order; fails on one that does not parse."""
    directory = journal_dir(data_dir)
    return [
        orjson.loads(raw)
        for name in journal_names(directory)
        # What stands behind the last line break was torn by a kill: nobody was told of it.
        for raw in (directory / name).read_bytes().split(b"\n")[:-1]
    ]


class SmallVolume:
    """A ``write`` for the journal with room for so many bytes; files under ``directory`` count."""

    def __init__(self, directory: Path, room_bytes: int) -> None:
        self.directory = directory
        self.room_bytes = room_bytes
        self.short = False  # whether the write that meets the end still writes a part

    def __call__(self, fd: int, content: bytes) -> int:
        used = sum(entry.stat().st_size for entry in os.scandir(self.directory))
        left = self.room_bytes - used
        if left >= len(content):
            return os.write(fd, content)
        if self.short and left > 0:
            return os.write(fd, content[:left])
        raise OSError(28, "No space left on device")
