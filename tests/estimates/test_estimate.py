"""``gateway estimate``, held against sums that can be done by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from gateway.cli import main
from gateway.estimates.hardware import hardware_of
from gateway.estimates.late_2022 import claims
from gateway.estimates.tables import gpus, shapes
from gateway.pricebook.configured import price_book
from gateway.settings import Settings

Run = Callable[..., Any]
# The assumptions of the sum of late 2022: 64 % of the 40 GB card's bandwidth, nothing on top.
THEN = ("--memory-efficiency", "0.64308", "--overhead-ms", "0", "--input-tokens", "0")


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: str, status: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["gateway", "estimate", *arguments])
        ended: object = 0
        try:
            main()
        except SystemExit as end:
            ended = end.code
        out, err = capfd.readouterr()
        assert ended == status, err
        return json.loads(out) if "--json" in arguments and not status else out + err

    return run


def test_three_billion_parameters_take_six_milliseconds(ask: Run) -> None:
    found = ask("gpt-3-3b", "--gpu", "a100-40", *THEN, "--output-tokens", "1", "--json")
    assert found["seconds_per_token"]["value"] == pytest.approx(0.006, rel=1e-3)
    assert found["regime"] == "memory"
    given = {line["name"]: line["from"] for line in found["assumptions"]}
    assert given["memory_efficiency"] == "given" and given["compute_efficiency"] == "default"


def test_the_large_model_of_late_2022(ask: Run) -> None:
    one = ask("gpt-3-175b", "--gpu", "a100-40", "--gpus", "1", *THEN, "--json")
    # Reading the KV cache of 100 tokens on average adds about 0.1 %.
    assert one["seconds_per_token"]["value"] == pytest.approx(0.350, rel=5e-3)
    assert not one["hardware"]["fits"] and "does not fit" in one["doubts"][0]
    assert ask("175b", "--gpu", "a100-80", "--json")["hardware"]["gpus_needed"] == 5
    answer = ask(
        *("gpt-3-175b", "--gpu", "a100-40", "--gpus", "8", *THEN, "--output-tokens", "40"),
        *("--usd-per-hour", "3", "--requests-per-day", "10e6", "--json"),
    )
    cost = answer["cost"]
    assert answer["seconds_per_token"]["value"] == pytest.approx(0.350 / 8, rel=5e-3)
    assert Decimal(cost["usd_per_output_token"]["value"]) == Decimal("0.000292")
    assert Decimal(cost["usd_per_request"]["value"]) == Decimal("0.0117")  # 30 words: a cent
    assert Decimal(cost["usd_per_day"]["value"]) == 117_000
    assert Decimal(cost["usd_per_month"]["value"]) == 3_500_000


def test_the_sum_of_late_2022_and_where_it_is_off(ask: Run) -> None:
    rows = ask("--late-2022", "--json")
    assert [row["published"] for row in rows[:7]] == [
        *("6 ms", "350 ms", "5", "15 to 20", "$0.0003", "about 1 cent", "$100K")
    ]
    assert [row["value"] for row in rows] == [
        *("6", "350", "5", "17.1", "0.000292", "0.0117", "116,667", "22.7", "0.28", "5")
    ]
    assert "for a token and not for a word" in rows[1]["verdict"]
    assert "$0.00039" in rows[4]["verdict"]
    assert "about 1 cent" in ask("--late-2022")
    assert len(claims()) == len(rows)


def test_batching_and_the_two_other_regimes(ask: Run) -> None:
    def of(*more: str) -> Any:
        return ask("llama-3-8b", "--gpu", "a100-80", "--usd-per-hour", "2.50", *more, "--json")

    one, many = of(), of("--batch", "32")
    ratio = float(one["cost"]["usd_per_output_token"]["value"]) / float(
        many["cost"]["usd_per_output_token"]["value"]
    )
    assert 20 < ratio < 32
    assert one["regime"] == many["regime"] == "memory"
    assert of("--batch", "512")["regime"] == "compute"
    small = ask("smollm2-135m", "--gpu", "h100", "--json")
    assert small["regime"] == "overhead" and "software takes longer" in small["why"]
    # By hand: 16.06 GB / (2039 GB/s x 0.66) + 2 ms, and a little KV cache.
    assert one["seconds_per_token"]["value"] == pytest.approx(0.01393, rel=1e-2)
    # 2 x 8.03e9 x 600 / (312e12 x 0.5) + 2 ms
    assert one["prefill_seconds"]["value"] == pytest.approx(0.06377, rel=1e-2)
    # The prompts of a batch are read one after the other.
    assert many["prefill_seconds"]["value"] == pytest.approx(32 * 0.06377, rel=1e-2)
    half = of("--utilisation", "0.5")
    assert float(half["cost"]["usd_per_request"]["value"]) == pytest.approx(
        2 * float(one["cost"]["usd_per_request"]["value"]), rel=1e-2
    )


def test_everything_is_an_estimate_with_a_range(ask: Run) -> None:
    found = ask("llama-3-8b", "--gpu", "h100", "--price", "modal-h100", "--json")
    cost = found["cost"]
    for amount in (*found.values(), *cost.values()):
        if isinstance(amount, dict) and "low" in amount:
            assert float(amount["low"]) <= float(amount["value"]) <= float(amount["high"])
            assert amount["status"] == "estimated"
    assert cost["usd_per_gpu_hour"] == "3.9492" and "modal-h100@" in cost["source"]
    assert cost["usd_per_day"] is None


def test_a_model_that_is_not_known_needs_its_parameters(ask: Run) -> None:
    found = ask("mine", "--parameters", "8e9", "--gpu", "l4", "--json")
    assert found["cost"] is None and found["memory"]["kv_cache_bytes"] is None
    assert any("KV cache is not known" in doubt for doubt in found["doubts"])
    assert any("cost is unknown" in doubt for doubt in found["doubts"])
    whole = ask(
        *("--parameters", "8e9", "--layers", "32", "--kv-heads", "8", "--head-dim", "128"),
        *("--weight-bytes", "1", "--gpu", "l4", "--json"),
    )
    assert whole["memory"]["kv_bytes_per_token"] == 131072
    assert whole["memory"]["weights_bytes"] == 8_000_000_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nope",), "no model named 'nope' is known (gpt-3-3b"),
        ((), "name a model"),
        (("8b", "--gpu", "tpu"), "--gpu: no card named 'tpu'"),
        (("8b", "--price", "nope"), "--price: no price for seconds is named 'nope'"),
        (("8b", "--usd-per-hour", "much"), "--usd-per-hour is an amount"),
        (("8b", "--usd-per-hour", "nan"), "--usd-per-hour is an amount"),
        (("8b", "--usd-per-hour", "1", "--price", "modal-h100"), "not both"),
    ],
)
def test_what_cannot_be_answered_says_why(ask: Run, arguments: tuple[str, ...], said: str) -> None:
    assert said in ask(*arguments, status=2)


def test_the_table_for_people(ask: Run) -> None:
    said = ask("8b", "--gpu", "a100-80", "--price", "modal-a100-80gb", "--requests-per-day", "2e3")
    assert "memory bound" in said and "usd_per_day" in said and "Assumed: memory_eff" in said


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("modal-a100-80gb", "a100-80"),
        ("modal-a100-40gb", "a100-40"),
        ("replicate-gpu-a100-large-8x", "8 x a100-80"),
        ("replicate-deployment-gpu-2x-l40s", "2 x l40s"),
        ("huggingface-endpoint-aws-a10g-x4", "4 x a10g"),
        ("gpu-l40s", "l40s"),
        ("H100", "h100"),
        ("H100!", "h100"),
        ("cpu", "None"),
        ("modal-cpu-core", "None"),
        ("huggingface-endpoint-aws-intel-spr-x1", "None"),
        ("0x-h100", "None"),
    ],
)
def test_which_card_a_name_means(name: str, meant: str) -> None:
    assert str(hardware_of(name)) == meant


def test_most_price_rows_for_seconds_of_a_card_are_tied_to_it() -> None:
    names = [name for name in price_book(Settings()).names() if hardware_of(name) is None]
    assert not [name for name in names if "h100" in name or "l40s" in name or "a100" in name]


def test_every_row_has_a_source_and_one_name() -> None:
    for table in (gpus(), shapes()):
        names = [name for row in table for name in (row.name, *row.names)]
        assert len(names) == len(set(names))
        assert all(row.source for row in table)
