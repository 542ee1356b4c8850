"""Each way of billing, by a built-in row of it and by figures computed by hand from its source."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from gateway.accounting.metering import NOTHING, Count, Metered
from gateway.accounting.prices import PriceBook, PriceRow, built_in_rows
from gateway.accounting.pricing import Billable, Cost, Seconds, highest_usd, price
from tests.accounting.test_pricing import exact, lines, row

BOOK = PriceBook(built_in_rows())
SPENT = Billable(NOTHING, execute=Seconds(10.0), boot=Seconds(20.0), queue=Seconds(40.0))

# Names of a family, the page of its rule, a row of it, what SPENT costs, what comes later.
FAMILIES: list[tuple[str, str, str, dict[str, str], tuple[str, ...]]] = [
    (
        # Public models: active seconds alone. 0.000225 x 10.
        r"replicate-(gpu-.+|cpu)",
        "https://replicate.com/pricing",
        "replicate-gpu-t4",
        {"execute_seconds": "0.00225"},
        (),
    ),
    (
        # Own deployments: start-up, work and idle time. 0.0014 x 10 and x 20.
        r"replicate-deployment-.+",
        "https://replicate.com/pricing",
        "replicate-deployment-gpu-a100-large",
        {"execute_seconds": "0.014", "boot_seconds": "0.028"},
        ("idle",),
    ),
    (
        # The life of a container. 3.95 an hour is 0.001097 a second, as the page has it.
        r"modal-.+",
        "https://modal.com/pricing",
        "modal-h100",
        {"execute_seconds": "0.01097", "boot_seconds": "0.02194"},
        ("idle",),
    ),
    (
        # A replica from its initializing on. 10 USD an hour: 10/3600 x 10 and x 20.
        r"huggingface-endpoint-.+",
        "https://huggingface.co/docs/inference-endpoints/support/pricing",
        "huggingface-endpoint-gcp-h100-x1",
        {"execute_seconds": "0.027777777778", "boot_seconds": "0.055555555556"},
        ("idle",),
    ),
    (
        # A worker from its start to its stop. 0.00016 x 10 and x 20.
        r"runpod-.+",
        "https://docs.runpod.io/serverless/endpoints/endpoint-configurations",
        "runpod-a4000",
        {"execute_seconds": "0.0016", "boot_seconds": "0.0032"},
        ("idle",),
    ),
    (
        # The operator's own machine, while it works. 0.0000131 x 10 and x 20.
        r"local-cpu",
        "https://modal.com/pricing",
        "local-cpu",
        {"execute_seconds": "0.000131", "boot_seconds": "0.000262"},
        (),
    ),
    (
        # Tokens only: seconds cost nothing, and none went through.
        r"huggingface-router-.+",
        "https://huggingface.co/docs/inference-providers/hub-api",
        "huggingface-router-deepseek-v4-pro-novita",
        {"input_tokens": "0", "output_tokens": "0"},
        (),
    ),
    (
        r"replicate-meta-.+",
        "https://replicate.com/docs/topics/billing",
        "replicate-meta-llama-3.1-405b-instruct",
        {"input_tokens": "0", "output_tokens": "0"},
        (),
    ),
]


def test_every_built_in_row_belongs_to_a_family_that_is_tested() -> None:
    for built_in in built_in_rows():
        found = [family for family in FAMILIES if re.fullmatch(family[0], built_in.name)]
        assert len(found) == 1, built_in.name
        assert built_in.source.startswith(found[0][1]), built_in.name


@pytest.mark.parametrize(
    ("name", "expected", "pending"),
    [family[2:] for family in FAMILIES],
    ids=lambda value: str(value),
)
def test_what_each_family_bills(
    name: str, expected: dict[str, str], pending: tuple[str, ...]
) -> None:
    tariff = BOOK.find(name)
    assert tariff is not None
    cost = price(tariff.rows[0], SPENT)
    assert lines(cost) == {kind: Decimal(usd) for kind, usd in expected.items()}
    assert (cost.status, cost.pending) == ("measured", pending)
    assert cost.total_usd == sum(map(Decimal, expected.values()))


def test_a_bill_that_its_source_has_worked_out() -> None:
    """8 tokens in for $0.0000760, 43 out for $0.0004085: docs/topics/billing (2026-11-23)."""
    tariff = BOOK.find("replicate-meta-llama-3.1-405b-instruct")
    assert tariff is not None
    cost = price(tariff.rows[0], Billable(Metered(exact(8), exact(43))))
    assert lines(cost) == {
        "input_tokens": Decimal("0.000076"),
        "output_tokens": Decimal("0.0004085"),
    }


def test_a_bill_by_the_second_that_its_source_has_worked_out() -> None:
    """10 s on hardware of $0.00012 a second cost $0.0012: Inference Providers' pricing page."""
    cost = price(row(usd_per_second="0.00012"), Billable(NOTHING, execute=Seconds(10.0)))
    assert cost.total_usd == Decimal("0.0012")


# -- rules without a built-in row ---------------------------------------------------------------


def test_images_and_requests() -> None:
    priced = row(usd_per_image="0.003", usd_per_request="0.01")
    cost = price(priced, Billable(Metered(images=4)))
    assert lines(cost) == {"images": Decimal("0.012"), "requests": Decimal("0.01")}
    assert lines(price(priced, Billable(Metered(images=0)))) == {"requests": Decimal("0.01")}
    unknown = price(priced, Billable(Metered(images=None)))
    assert (unknown.total_usd, unknown.known_usd) == (None, Decimal("0.01"))


@pytest.mark.parametrize("step", ["1", "60", "0.1"])
@pytest.mark.parametrize(
    ("steps", "more_us", "billed"),
    [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2), (7, -1, 7), (7, 0, 7)],
)
def test_rounding_up(step: str, steps: int, more_us: int, billed: int) -> None:
    """A multiple stays as it is, a microsecond over it is a step more, and 0 s are 0."""
    micro = int(Decimal(step) * steps * 1_000_000) + more_us
    rounded = row(usd_per_second="1", round_up_seconds=step)
    cost = price(rounded, Billable(NOTHING, execute=Seconds(micro / 1_000_000)))
    assert cost.total_usd == Decimal(step) * billed


def test_each_billed_phase_is_rounded_for_itself() -> None:
    rounded = row(usd_per_second="1", round_up_seconds="1", bills=["execute", "boot"])
    used = Billable(NOTHING, execute=Seconds(0.2), boot=Seconds(0.3))
    assert price(rounded, used).total_usd == 2
    high = highest_usd(rounded, input_tokens=0, output_tokens=0, seconds=0.5)
    assert high is not None and high >= 2


# -- tokens -------------------------------------------------------------------------------------

CACHED = row(
    usd_per_million_input_tokens="2",
    usd_per_million_output_tokens="8",
    usd_per_million_cached_input_tokens="0.5",
)
UNCACHED = row(usd_per_million_input_tokens="2", usd_per_million_output_tokens="8")


def tokens(priced: PriceRow, fresh: int | None, out: int | None, cached: int | None = None) -> Cost:
    given, made, hit = (None if count is None else exact(count) for count in (fresh, out, cached))
    return price(priced, Billable(Metered(given, made, hit)))


@pytest.mark.parametrize(
    ("priced", "fresh", "cached", "usd"),
    [
        (CACHED, 1000, None, "0.002"),  # nobody said: none was cached, as far as is known
        (CACHED, 1000, 0, "0.002"),
        (CACHED, 1000, 400, "0.0014"),  # 600 x 2 + 400 x 0.5
        (CACHED, 1000, 1000, "0.0005"),
        (UNCACHED, 1000, 400, "0.002"),  # no rate of its own
        (CACHED, 0, 0, "0"),
    ],
)
def test_cached_tokens_counted_as_a_part_of_the_input(
    priced: PriceRow, fresh: int, cached: int | None, usd: str
) -> None:
    cost = tokens(priced, fresh, 0, cached)
    assert (cost.status, cost.total_usd) == ("measured", Decimal(usd))
    assert cost.low_usd == cost.high_usd == cost.total_usd


@pytest.mark.parametrize(
    ("priced", "low", "usd"),
    [
        (CACHED, "0.00005", "0.0006"),  # 100 x 2 + 800 x 0.5; at least 100 cached
        (UNCACHED, "0.0002", "0.0018"),  # 900 x 2; at least 100
    ],
)
def test_more_cached_than_input_tokens_were_counted_apart(
    priced: PriceRow, low: str, usd: str
) -> None:
    cost = tokens(priced, 100, 0, 800)
    assert (cost.status, cost.total_usd) == ("estimated", Decimal(usd))
    assert (cost.low_usd, cost.high_usd) == (Decimal(low), Decimal(usd))


def test_zero_tokens_cost_zero_and_unknown_ones_cost_unknown() -> None:
    assert tokens(CACHED, 0, 0).total_usd == 0
    for fresh, out in ((None, 5), (5, None), (None, None)):
        cost = tokens(CACHED, fresh, out)
        assert (cost.status, cost.total_usd, cost.high_usd) == ("unknown", None, None)
        assert any(line.usd is None and line.quantity is None for line in cost.lines)
    assert tokens(CACHED, None, 5).known_usd == Decimal("0.00004")


TIERS: dict[str, Any] = {
    "usd_per_million_input_tokens": "1",
    "usd_per_million_output_tokens": "10",
    "tiers": [
        {
            "above_input_tokens": 100,
            "usd_per_million_input_tokens": "2",
            "usd_per_million_output_tokens": "20",
        },
        {
            "above_input_tokens": 200,
            "usd_per_million_input_tokens": "4",
            "usd_per_million_output_tokens": "40",
        },
    ],
}


@pytest.mark.parametrize(
    ("fresh", "factor"), [(0, 1), (100, 1), (101, 2), (200, 2), (201, 4), (10_000, 4)]
)
def test_a_tier_is_for_all_tokens_of_a_longer_request(fresh: int, factor: int) -> None:
    cost = tokens(row(**TIERS), fresh, 1000)
    assert cost.total_usd == (Decimal(fresh) * factor + 10_000 * factor) / 1_000_000
    assert cost.status == "measured"


def test_an_estimate_across_tiers_has_the_bounds_of_all_of_them() -> None:
    metered = Metered(Count(90, "estimated", 0, 150), exact(10))
    cost = price(row(**TIERS), Billable(metered))
    assert cost.status == "estimated"
    assert cost.total_usd == Decimal("0.00019")  # 90 x 1 + 10 x 10
    assert cost.low_usd == Decimal("0.0001")  # none in, 10 x 10
    assert cost.high_usd == Decimal("0.0005")  # 150 x 2 + 10 x 20
    at_the_step = Metered(Count(120, "estimated", 100, 150), exact(10))
    cost = price(row(**TIERS), Billable(at_the_step))
    assert (cost.total_usd, cost.low_usd) == (Decimal("0.00044"), Decimal("0.0002"))
    unbounded = Metered(Count(90, "estimated", 0, None), exact(10))
    assert price(row(**TIERS), Billable(unbounded)).high_usd is None
    unknown = price(row(**TIERS), Billable(Metered(None, exact(10))))
    assert (unknown.total_usd, unknown.known_usd) == (None, Decimal(0))


def test_the_worst_case_knows_every_rate() -> None:
    high = highest_usd(row(**TIERS), input_tokens=150, output_tokens=10, seconds=1.0)
    assert high == Decimal("0.0005")
    dearer = row(
        usd_per_million_input_tokens="1",
        usd_per_million_input_tokens_at_most="3",
        usd_per_million_output_tokens="1",
    )
    assert highest_usd(dearer, input_tokens=100, output_tokens=0, seconds=1.0) == Decimal("0.0003")


def test_input_of_which_some_costs_more_is_a_range() -> None:
    dearer = row(
        usd_per_million_input_tokens="1",
        usd_per_million_input_tokens_at_most="3",
        usd_per_million_cached_input_tokens="0.1",
    )
    cost = price(dearer, Billable(Metered(exact(1000), None, exact(400))))
    assert (cost.status, cost.total_usd) == ("estimated", Decimal("0.00064"))
    assert (cost.low_usd, cost.high_usd) == (Decimal("0.00064"), Decimal("0.00184"))
    nothing = price(dearer, Billable(Metered(exact(0))))
    assert (nothing.status, nothing.total_usd) == ("measured", Decimal(0))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"usd_per_million_input_tokens_at_most": "1"}, "at most"),
        (
            {
                "usd_per_million_input_tokens": "2",
                "usd_per_million_input_tokens_at_most": "1",
            },
            "at most",
        ),
        ({**TIERS, "tiers": list(reversed(TIERS["tiers"]))}, "ascend"),
        ({**TIERS, "tiers": TIERS["tiers"][:1] * 2}, "ascend"),
        ({**TIERS, "usd_per_million_output_tokens": None}, "no more and no less"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        row(usd_per_second="1", **wrong)
