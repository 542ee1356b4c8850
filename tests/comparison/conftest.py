"""A ledger with a month of known traffic, and the command over it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.ledger.layout import journal_dir
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from tests.ledger.databases import ship
from tests.ledger.samples import begun, finished, pico

CONFIG = """
providers:
  acme: {kind: openai_chat, base_url: "https://llm.acme.example/v1"}
deployments:
  tokens: {provider: acme, model: llama-8b, price: {usd_per_million_input_tokens: "1",
                                                     usd_per_million_output_tokens: "2"}}
  card: {provider: acme, model: llama-8b, hardware: h100, price: my-h100}
  nobody-knows: {provider: acme, model: llama-8b}
models:
  llama: {deployments: [tokens, card, nobody-knows]}
  other: {deployments: [tokens]}
prices:
  - {name: my-h100, effective_from: 2026-01-01, usd_per_second: "0.001", source: a contract,
     checked_on: 2026-01-01, bills: [execute, boot, idle], note: "<b>ours</b>"}
"""
Run = Callable[..., Any]


def now_us() -> int:
    return time.time_ns() // 1000


def served(number: int, at_us: int, deployment: str, **more: Any) -> AttemptRow:
    """A warm request of 100 + 50 tokens that took 2 s."""
    usual: dict[str, Any] = {
        "input_tokens": 100,
        "output_tokens": 50,
        "execute_seconds": 2.0,
        "verdict": "warm",
        "caused_boot": False,
        "boot_seconds": None,
        "wait_seconds": 0.0,
        "cost_pico_usd": pico("0.0002"),
        "known_pico_usd": pico("0.0002"),
    }
    row = begun(number, at_us=at_us, model="llama", deployment=deployment, provider="acme")
    return finished(row, **(usual | more))


def fill(data_dir: Path, rows: list[AttemptRow]) -> None:
    journal = Journal.open(journal_dir(data_dir))
    for row in rows:
        journal.end(row)
    journal.close()
    ship(data_dir)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def run(
    config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """``gateway compare`` in this process; JSON where it is asked for."""

    def command(*arguments: object, status: int = 0) -> Any:
        where = ["--config", str(config), "--data-dir", str(tmp_path / "data")]
        words = [str(word) for word in arguments]
        monkeypatch.setattr(sys, "argv", ["gateway", "compare", *words, *where])
        ended: object = 0
        try:
            main()
        except SystemExit as end:
            ended = end.code
        out, err = capfd.readouterr()
        assert (ended or 0) == status, out + err
        return json.loads(out) if "--json" in words and not status else out + err

    return command


@pytest.fixture
def ledger(tmp_path: Path) -> int:
    """Ten requests at each of two deployments, an hour apart, each pair at the same moment.

    The card's first one waited 30 s for a boot of its own. Three more did not succeed. Gives the
    moment of the first.
    """
    start = now_us() - 20 * 3_600_000_000
    rows = []
    for number in range(10):
        at = start + number * 3_600_000_000
        rows.append(served(2 * number, at, "tokens"))
        cold = {"verdict": "cold", "caused_boot": True, "boot_seconds": 30.0, "wait_seconds": 30.0}
        rows.append(
            served(2 * number + 1, at, "card", execute_seconds=4.0, **(cold if not number else {}))
        )
    for number in range(20, 23):
        rows.append(served(number, start, "tokens", status="failed"))
    fill(tmp_path / "data", rows)
    return start


def of(found: Any, name: str) -> Any:
    (row,) = [row for row in found["candidates"] if row["name"] == name]
    return row
