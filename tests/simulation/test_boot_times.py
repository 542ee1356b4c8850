"""Boots at a price: those seen there, those that its provider is known for, or a guess."""

from __future__ import annotations

import contextlib
import json
import math
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.ledger.layout import journal_dir
from gateway.ledger.writing.journal import Journal
from gateway.simulation.boot_times import BootBook, lognormal
from gateway.simulation.simulate import Plant
from gateway.warmth.boots import Part
from tests.ledger.databases import ship
from tests.ledger.samples import NOON_US, begun, finished

ASKED = ("--start-time", "2026-11-22T00:00:00Z", "--end-time", "2026-11-28T00:00:00Z", "--json")


def filled(
    data_dir: Path,
    boots: dict[str, float],
    count: int,
    origin: str = "live",
    apart_seconds: int = 1800,
) -> Path:
    """A ledger in which each deployment has booted so often, for about so long; its settings."""
    dice = random.Random(1)
    with contextlib.closing(Journal.open(journal_dir(data_dir))) as journal:
        for number in range(count):
            for name, seconds in boots.items():
                at_us = NOON_US + number * apart_seconds * 1_000_000
                row = begun(0, at_us=at_us, deployment=name, origin=origin)
                row.attempt_id = row.operation_id = f"{name}-{number}"
                journal.begin(row)
                boot = seconds * dice.lognormvariate(0.0, 0.1)
                total_us = round((boot + 0.4) * 1e6)
                journal.end(
                    finished(row, boot_seconds=boot, completed_at_us=row.begun_at_us + total_us)
                )
    ship(data_dir)
    settings = data_dir / "gateway.yml"
    settings.write_text(
        json.dumps(
            {
                "server": {"data_dir": str(data_dir)},
                "deployments": {
                    "now": {"provider": "modal", "model": "m", "price": "modal-a100-80gb"},
                    "then": {"provider": "modal", "model": "m", "price": "modal-l4"},
                },
            }
        )
    )
    return settings


def planned(settings: Path, *arguments: str) -> Any:
    prices = ("--price", "modal-a100-80gb", "--price", "modal-l4", "--policy", "fixed")
    found = CliRunner().invoke(app, ["plan", "-c", str(settings), *prices, *ASKED, *arguments])
    assert found.exit_code == 0, found.output or found.exception
    return json.loads(found.stdout)


@pytest.mark.parametrize("origin", ["live", "imported"])
def test_each_price_has_the_boots_that_the_ledger_has_seen_there(
    origin: str, tmp_path: Path
) -> None:
    settings = filled(tmp_path, {"now": 90.0, "then": 10.0}, 40, origin)
    found = planned(settings)
    boots = {row["price"]: row for row in found["boots"]}
    slow, quick = boots["modal-a100-80gb"], boots["modal-l4"]
    assert slow["source"] == quick["source"] == "learned" and slow["seen"] == 40
    assert slow["median_seconds"] == pytest.approx(90, rel=0.1)
    assert quick["median_seconds"] == pytest.approx(10, rel=0.1)
    low, high = quick["range_seconds"]
    assert low < quick["median_seconds"] < high < 1.1 * low
    assert found["recommended"]["price"] == "modal-l4"
    # what somebody says wins, and is taken for sure
    given = planned(settings, "--boot-seconds", "30")["boots"]
    assert {row["source"] for row in given} == {"given"}
    assert [row["median_seconds"] for row in given] == [pytest.approx(30)] * 2


def test_too_few_boots_are_no_distribution(tmp_path: Path) -> None:
    """Then the provider's figures are taken, and the interval is as wide as they are apart."""
    few = planned(filled(tmp_path, {"now": 90.0, "then": 10.0}, 3, apart_seconds=144_000))
    assert {row["source"] for row in few["boots"]} == {"provider"}
    low, high = few["boots"][0]["range_seconds"]
    assert (low, high) == (13.8, 95.7)
    sure = planned(tmp_path / "gateway.yml", "--boot-seconds", "36")
    widths = [
        float(told["interval_usd_per_month"][1]) - float(told["interval_usd_per_month"][0])
        for told in (few, sure)
    ]
    assert widths[0] > widths[1]


def test_a_deployment_has_its_own_boots_at_its_own_price() -> None:
    seen = {"a": [10.0, 11.0, 9.0, 10.0, 10.5], "b": [80.0, 85.0, 90.0, 75.0, 82.0], "c": [5.0]}
    book = BootBook(seen, {"a": "x", "b": "x"}, today="y")
    assert book.at("x", "a").quantile(0.5) == pytest.approx(10, rel=0.1)
    assert book.at("x", "b").quantile(0.5) == pytest.approx(82, rel=0.1)
    pooled = book.at("x", "c")  # it was never seen at that price
    assert pooled == book.at("x") and pooled.seen == 10 and len(pooled.parts) == 2
    assert book.at("y", "c").source == "guess"  # one boot tells nothing


def test_boots_of_a_mixture_are_drawn_by_its_parts() -> None:
    plant = Plant(0.0, boot_parts=(Part(0.3, 2.0, 0.1), Part(0.7, 60.0, 0.2)), seed=3)
    draw = plant.draw("d")
    drawn = [draw() / 1e6 for _ in range(2000)]
    quick = [seconds for seconds in drawn if seconds < 10]
    assert len(quick) / 2000 == pytest.approx(0.3, abs=0.04)
    assert statistics.median(quick) == pytest.approx(2.0, rel=0.05)
    again = plant.draw("d")
    assert [again() / 1e6 for _ in range(20)] == drawn[:20]
    assert not plant.is_simple


def test_longer_boots_are_the_same_boots_longer() -> None:
    times = BootBook(given=(20.0, 0.5)).at("any")
    assert times.parts == lognormal(20.0, 0.5)
    assert times.mean_seconds == pytest.approx(20 * math.exp(0.125))
    assert times.at_median(40.0).quantile(0.9) == pytest.approx(2 * times.quantile(0.9))
