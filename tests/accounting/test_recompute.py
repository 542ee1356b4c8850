"""From the row alone back to its cost: whatever an attempt went through, the figures agree."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from gateway.accounting.explain import explained
from gateway.accounting.later import settle_later
from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceRow
from gateway.accounting.recompute import recomputed
from gateway.accounting.settle import Observed, booked, settle, settle_interrupted
from gateway.accounting.timeline import Timeline
from gateway.ledger.codec import attempt_row
from gateway.ledger.rows import AttemptRow
from providers.contract import (
    Booting,
    Delta,
    Finished,
    JobReport,
    Phases,
    Queued,
    Started,
    Usage,
)

TIER = {"above_input_tokens": 500}


def price_row(chance: random.Random) -> PriceRow | None:
    if chance.random() < 0.1:
        return None
    rates: dict[str, Any] = {}
    if chance.random() < 0.6:
        rates |= {
            "usd_per_million_input_tokens": "0.37",
            "usd_per_million_output_tokens": "1.913",
        }
        if chance.random() < 0.5:
            rates["usd_per_million_cached_input_tokens"] = "0.0371"
        if chance.random() < 0.3:
            rates["usd_per_million_input_tokens_at_most"] = "0.5"
        if chance.random() < 0.3:
            rates["tiers"] = [
                {
                    **TIER,
                    "usd_per_million_input_tokens": "0.74",
                    "usd_per_million_output_tokens": "3",
                }
            ]
    if chance.random() < 0.7 or not rates:
        rates["usd_per_second"] = "0.00013571"
        kinds = ["execute", "boot", "queue", "idle"]
        rates["bills"] = chance.sample(kinds, chance.randint(1, 4))
        if chance.random() < 0.1:
            rates["bills"] = ["standing"]
        if chance.random() < 0.3:
            rates["round_up_seconds"] = chance.choice(["1", "0.1", "60"])
        if chance.random() < 0.3:
            rates["shared"] = True
    if chance.random() < 0.2:
        rates["usd_per_image"] = "0.0213"
    if chance.random() < 0.2:
        rates["usd_per_request"] = "0.001"
    about = {"effective_from": "2026-01-01", "checked_on": "2026-01-01", "source": "s"}
    return PriceRow.model_validate({"name": "p", **about, **rates})


def maybe(chance: random.Random, value: Any, share: float = 0.5) -> Any:
    return value if chance.random() < share else None


def attempt() -> AttemptRow:
    names = ("generate", False, "m", "d", "p", "pm", "r")
    return AttemptRow("att_1", "gen_1", 0, *names, 10**15, 10**15)


def lived(chance: random.Random, priced: PriceRow | None) -> AttemptRow:
    """An attempt that went through anything, settled and read back as from a journal."""
    row = AttemptRow(
        "att_1", "gen_1", 0, "generate", False, "m", "d", "p", "pm", "r", 10**15, 10**15
    )
    row.max_output_tokens = maybe(chance, 64)
    row.idle_before_seconds = maybe(chance, chance.choice([0.0, 7.0]))
    row.price = None if priced is None else priced.record
    timeline, at = Timeline(0.0), 0.0
    for event in (
        maybe(chance, Queued()),
        maybe(chance, Booting("phase_reported", maybe(chance, chance.random() < 0.5))),
        maybe(chance, Started("i")),
        maybe(chance, Delta("x")),
    ):
        at += chance.random() * 3
        if event is not None:
            timeline.observe(event, at)
    phases = maybe(
        chance,
        Phases(
            queue_seconds=maybe(chance, chance.random()),
            boot_seconds=maybe(chance, chance.random() * 9),
            wait_seconds=maybe(chance, chance.random() * 9, 0.3),
            execute_seconds=maybe(chance, chance.random() * 4),
            caused_boot=maybe(chance, chance.random() < 0.5),
        ),
        0.4,
    )
    succeeded = chance.random() < 0.7
    row.status = "succeeded" if succeeded else chance.choice(["failed", "cancelled"])
    if succeeded:
        timeline.observe(Finished(("stop",), phases=phases), at)
        timeline.end(at + chance.random())
    else:
        timeline.end(at + chance.random(), phases)
    usage = maybe(
        chance,
        Usage(
            maybe(chance, chance.randint(0, 1000), 0.8),
            maybe(chance, chance.randint(0, 1000), 0.8),
            maybe(chance, chance.randint(0, 1200), 0.4),
            images=maybe(chance, chance.randint(0, 3)),
            cost_usd=maybe(chance, Decimal("0.0123"), 0.1),
            counted=chance.random() < 0.2,
        ),
        0.8,
    )
    observed = Observed(
        timeline,
        usage,
        input_bytes=chance.randint(0, 4000),
        output_bytes=chance.randint(0, 4000),
        complete=succeeded,
        spends=succeeded or chance.random() < 0.7,
        share_seconds=chance.random() if priced is not None and priced.shared else None,
        boot_limit_seconds=600.0,
        goes_on_seconds=maybe(chance, 900.0, 0.2),
        unsaid_seconds=maybe(chance, 300.0, 0.1),
    )
    settle(row, observed, priced, TokenEstimator())
    return attempt_row(orjson.loads(orjson.dumps(row)))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_was_booked_follows_from_its_row(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        priced = price_row(chance)
        row = lived(chance, priced)
        found = explained(row)
        assert found["agrees"] is True, (row, found)
        assert found["recomputed_usd"] == found["booked_usd"]
        assert row.cost_pico_usd is not None or found["booked_usd"] is None


@pytest.mark.parametrize("seed", range(10))
def test_pricing_again_keeps_within_what_is_known(seed: int) -> None:
    """Under any other row: money is consistent, bounds hold, and doing it again is the same."""
    chance = random.Random(1000 + seed)
    for _ in range(100):
        row = lived(chance, price_row(chance))
        other = price_row(chance)
        columns = booked(recomputed(row, other))
        low, cost, high = (columns[f"{name}_pico_usd"] for name in ("low", "cost", "high"))
        assert (cost is None) == (columns["cost_status"] == "unknown")
        if cost is not None:
            assert low <= cost and (high is None or cost <= high)
        for name, value in columns.items():
            setattr(row, name, value)
        row.price = None if other is None else other.record
        again = booked(recomputed(row, other))
        assert (again["cost_pico_usd"], again["known_pico_usd"]) == (
            columns["cost_pico_usd"],
            columns["known_pico_usd"],
        )


@pytest.mark.parametrize(
    ("caused_boot", "boot_seconds", "wait_seconds", "billed"),
    [
        (True, 4.0, 4.0, ("4", "measured", 4.0, 4.0)),
        (None, 4.0, 4.0, ("4", "estimated", 0.0, 4.0)),  # nobody says whose it was
        (False, 4.0, 4.0, None),  # others' boot is theirs to pay
        (None, None, 6.0, ("6", "estimated", 0.0, 6.0)),  # anything of it may have been one
        (None, None, None, None),
    ],
)
def test_a_boot_that_no_price_billed_then(
    caused_boot: bool | None,
    boot_seconds: float | None,
    wait_seconds: float | None,
    billed: tuple[str, str, float, float] | None,
) -> None:
    row = attempt()
    row.status, row.execute_seconds, row.caused_boot = "succeeded", 1.0, caused_boot
    row.boot_seconds, row.wait_seconds = boot_seconds, wait_seconds
    today = PriceRow.model_validate(
        {
            "name": "p",
            "effective_from": "2026-01-01",
            "checked_on": "2026-01-01",
            "source": "s",
            "usd_per_second": "1",
            "bills": ["boot"],
        }
    )
    lines = recomputed(row, today).lines
    if billed is None:
        assert lines == ()
        return
    (line,) = lines
    assert (str(line.quantity), line.status) == (f"{billed[0]}.000000", billed[1])
    assert (float(line.low_usd), float(line.high_usd or -1)) == billed[2:]


@pytest.mark.parametrize("seed", range(10))
def test_interrupted_attempts_are_explained_too(seed: int) -> None:
    chance = random.Random(2000 + seed)
    for _ in range(20):
        priced = price_row(chance)
        row = AttemptRow(
            "att_1", "gen_1", 0, "generate", False, "m", "d", "p", "pm", "r", 10**15, 0
        )
        row.price = None if priced is None else priced.record
        row.input_tokens, row.input_tokens_source = maybe(chance, 700), "estimated"
        row.max_output_tokens = maybe(chance, 64)
        settle_interrupted(
            row,
            now_us=10**15 + 9_000_000,
            last_seen_us=10**15 + chance.randint(0, 8_000_000),
            total_seconds=900.0,
        )
        found = explained(attempt_row(orjson.loads(orjson.dumps(row))))
        assert found["agrees"] is True, (row, found)


def test_what_the_provider_told_later_is_explained() -> None:
    priced = PriceRow.model_validate(
        {
            "name": "p",
            "effective_from": "2026-01-01",
            "checked_on": "2026-01-01",
            "source": "s",
            "usd_per_second": "0.5",
        }
    )
    row = attempt()
    row.price = priced.record
    settle_interrupted(row, now_us=10**15 + 9_000_000, last_seen_us=10**15, total_seconds=900.0)
    told = JobReport("job", "succeeded", phases=Phases(execute_seconds=4.0))
    enough = replace(row, **settle_later(row, told), lookup="looked_up")
    assert enough.cost_pico_usd == 2 * 10**12
    found = explained(enough)
    assert (found["agrees"], found["recomputed_usd"]) == (True, "2")
    assert found["lines"][0]["quantity_from"] == "column execute_seconds"
    little = JobReport("job", "succeeded", phases=Phases(queue_seconds=1.0))
    too_little = replace(row, **settle_later(row, little), lookup="found")
    assert explained(too_little)["agrees"] in (True, None)
