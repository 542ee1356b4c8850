"""Which price holds when one takes effect while a request runs, and what clocks cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.clock import Clock
from gateway.settings import Settings
from providers.contract import Delta, Finished, Phases, Started, Usage
from providers.testing import ScriptedProvider
from providers.testing.scripted import Wait
from tests.gateways import post, running
from tests.ledger.samples import read_journal

MIDNIGHT_US = 1_795_392_000_000_000  # 2026-11-23T00:00:00Z


def priced(day: str, rate: str) -> dict[str, Any]:
    return {
        "name": "p",
        "effective_from": day,
        "usd_per_second": rate,
        "usd_per_request": rate,
        "bills": ["queue", "boot", "execute"],
        "source": "test",
        "checked_on": day,
    }


class At:
    """A gateway at one moment of wall time."""

    def __init__(self, tmp_path: Path) -> None:
        self.data_dir = tmp_path / "data"
        self.wall_us = MIDNIGHT_US
        self.script = ScriptedProvider()

    def ended(self, *steps: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """One request: its answer and its row."""
        self.script.play("m", *steps)
        settings = Settings.model_validate(
            {
                "server": {"data_dir": self.data_dir},
                "deployments": {"d": {"provider": "scripted", "model": "m", "price": "p"}},
                "models": {"m": {"deployments": ["d"]}},
                "prices": [priced("2026-11-01", "1"), priced("2026-11-23", "2")],
            }
        )
        app = create_app(
            settings,
            plugins={"scripted": self.script.plugin()},
            clock=Clock(wall_us=lambda: self.wall_us),
            log_attempts=False,
        )
        with running(app) as url:
            answer = post(f"{url}/v1/generate", {"model": "m", "input": "Hi"})
            (row,) = [
                line["attempt"] for line in read_journal(self.data_dir) if line["kind"] == "end"
            ]
        return answer, row


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[At]:
    yield At(tmp_path)


def test_the_row_at_the_begin_holds_to_the_end(gateway: At) -> None:
    gateway.wall_us = MIDNIGHT_US - 10_000
    answer, row = gateway.ended(Delta("x"), Wait(0.03), Finished(("stop",), Usage(1, 1)))
    assert row["begun_at_us"] < MIDNIGHT_US < row["completed_at_us"]
    assert {line["price_id"] for line in answer["cost"]["lines"]} == {"p@2026-11-01"}
    assert row["price"]["effective_from"] == "2026-11-01"


def test_at_midnight_the_new_row_holds(gateway: At) -> None:
    answer, row = gateway.ended(Delta("x"), Finished(("stop",), Usage(1, 1)))
    assert row["begun_at_us"] >= MIDNIGHT_US
    assert {line["price_id"] for line in answer["cost"]["lines"]} == {"p@2026-11-23"}


def test_seconds_of_a_clock_that_runs_backwards_are_none(gateway: At) -> None:
    """A provider whose start lies before its creation: clamped to 0, never a credit."""
    phases = Phases(queue_seconds=-3.0, boot_seconds=-0.5, execute_seconds=-1.0)
    answer, row = gateway.ended(
        Started("i"), Delta("x"), Finished(("stop",), Usage(1, 1), phases=phases)
    )
    assert (row["queue_seconds"], row["boot_seconds"], row["execute_seconds"]) == (0, 0, 0)
    usd = {line["kind"]: line["usd"] for line in answer["cost"]["lines"]}
    assert usd == {
        "execute_seconds": "0",
        "boot_seconds": "0",
        "queue_seconds": "0",
        "requests": "2",
    }
