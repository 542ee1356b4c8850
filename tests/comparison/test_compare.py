"""``gateway compare`` over a ledger, by hand."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.comparison.ask import ask_of
from gateway.comparison.run import answer
from gateway.ledger.layout import database_path
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from gateway.pricebook.configured import price_book
from gateway.settings import load
from tests.comparison.conftest import Run, fill, now_us, of, served

HOUR_US = 3_600_000_000


@pytest.mark.usefixtures("ledger")
def test_every_candidate_by_hand(run: Run) -> None:
    found = run("llama", "--json", "--price", "modal-l4", "--shape", "8b")
    assert found["traffic"]["requests"] == 20 and found["traffic"]["left_out"] == 3
    assert found["traffic"]["sample"] is None
    tokens = of(found, "tokens")
    # 20 x (100 x $1 + 50 x $2) / 10^6; all of it known, so measured.
    assert tokens["total_usd"] == tokens["tokens_usd"] == "0.004"
    assert tokens["status"] == "measured" and tokens["active_usd"] == "0"
    assert tokens["waits"]["p95_seconds"] == 0 and "measured" in tokens["waits"]["basis"]
    card = of(found, "card")
    # Ten pairs an hour apart: each finds it off. Both wait for the one boot of 30 s, run together
    # for 4 s and leave it idle for 300 s, at $0.001 a second.
    assert Decimal(card["boot_usd"]) == Decimal("0.3")
    assert Decimal(card["active_usd"]) == Decimal("0.04")
    assert Decimal(card["idle_usd"]) == 3
    assert Decimal(card["total_usd"]) == Decimal("3.34")
    assert (card["waits"]["boots"], card["waits"]["cold_rate"]) == (10, 1.0)
    assert card["waits"]["p50_seconds"] == card["waits"]["p99_seconds"] == 30
    assert card["boot"]["status"] == "measured" and card["boot"]["seconds"] == 30
    assert card["execute"]["status"] == "estimated"  # half of the requests went elsewhere
    assert card["status"] == "estimated" and card["keep_alive"]["seconds"] == 300
    assert "assumed" in card["keep_alive"]["basis"]
    # The price does not say that a machine is shared: each pair's second 4 s may cost as well.
    assert Decimal(card["range_usd"]["high"]) == Decimal("3.38")
    assert any("does not say that requests share" in note for note in card["notes"])


@pytest.mark.usefixtures("ledger")
def test_unknown_is_null_and_never_the_cheapest(run: Run) -> None:
    found = run("llama", "--json")
    unknown = of(found, "nobody-knows")
    assert unknown["total_usd"] is None and unknown["usd_per_request"] is None
    assert unknown["status"] == "unknown" and unknown["range_usd"] is None
    assert unknown["waits"]["p95_seconds"] is None and "its price" in unknown["unknown"]
    assert found["candidates"][-1]["total_usd"] is None
    assert found["cheapest"] == "tokens"
    assert found["sentence"].startswith("The cheapest for these 20 requests in ")
    assert "is tokens: $0.004 (measured), without a wait for 95 in 100" in found["sentence"]
    assert "the cost is unknown at nobody-knows" in found["sentence"]
    said = run("llama")
    assert "nobody-knows" in said and "unknown" in said


@pytest.mark.usefixtures("ledger")
def test_a_limit_on_waiting(run: Run) -> None:
    only_card = ("llama", "--filter", "deployment=card", "--json")
    found = run(*only_card, "--max-wait-p95-seconds", "30")
    assert of(found, "card")["within_limit"] is True
    assert of(found, "tokens")["within_limit"] is None  # nothing was measured there
    assert found["cheapest"] == "card" and "wait of at most 30 s" in found["sentence"]
    assert "the wait is unknown at tokens" in found["sentence"]
    found = run(*only_card, "--max-wait-p95-seconds", "29")
    assert found["cheapest"] != "card"
    assert of(found, "card")["within_limit"] is False
    own = ("--own-gpu", "h100", "--capex-usd", "30000")
    found = run(*only_card, "--max-wait-p95-seconds", "1", *own)
    assert found["cheapest"] == "own h100"


@pytest.mark.usefixtures("ledger")
def test_seconds_of_other_hardware_are_scaled_and_say_so(run: Run) -> None:
    found = run("llama", "--json", "--price", "replicate-gpu-l40s", "--price", "modal-h100")
    same, other = of(found, "modal-h100"), of(found, "replicate-gpu-l40s")
    assert same["execute"]["status"] == other["execute"]["status"] == "estimated"
    assert same["execute"]["mean_seconds"] == 4
    assert "measured at card on the same card" in same["execute"]["basis"]
    # 4 s times the bandwidths: 3350 / 864 GB/s.
    assert other["execute"]["mean_seconds"] == pytest.approx(4 * 3350 / 864, rel=1e-3)
    assert "scaled from card on h100" in other["execute"]["basis"]
    low, high = (Decimal(other["range_usd"][end]) for end in ("low", "high"))
    assert low < Decimal(other["total_usd"]) <= high
    # The range: from the ratio of arithmetic, 990 / 362, to that of bandwidth.
    assert other["execute"]["low_factor"] < 990 / 362 / (3350 / 864) + 1e-3
    # Public models there bill the work alone.
    assert other["boot_usd"] == other["idle_usd"] == "0" and other["active_usd"] != "0"
    assert other["total_usd"] == other["active_usd"]
    assert "upper bound" in other["waits"]["basis"]


def test_nothing_measured_and_no_shape_is_unknown(run: Run) -> None:
    made_up = ("--requests-per-day", "500", "--input-tokens", "600", "--output-tokens", "200")
    found = run("llama", *made_up, "--json")
    card = of(found, "card")
    assert card["total_usd"] is None and card["execute"] is None
    assert "how long requests take here" in card["unknown"]
    assert found["cheapest"] == "tokens"
    found = run("llama", *made_up, "--json", "--shape", "llama-3-8b", "--boot-seconds", "20")
    card = of(found, "card")
    assert card["execute"]["status"] == "estimated" and "roofline" in card["execute"]["basis"]
    assert Decimal(card["total_usd"]) > 0 and 0 < card["waits"]["cold_rate"] < 1
    assert [at["boot_seconds"] for at in card["sensitivity"]["boot"]] == [10, 40]
    shorter, longer = (Decimal(at["total_usd"]) for at in card["sensitivity"]["boot"])
    assert shorter < Decimal(card["total_usd"]) < longer
    assert card["sensitivity"]["one_at_a_time"]["total_usd"] is not None


def test_an_own_card_and_where_it_breaks_even(run: Run) -> None:
    own = ("--own-gpu", "h100", "--capex-usd", "35064", "--life-years", "4", "--watts", "1000")
    found = run(
        *("llama", "--requests-per-day", "1000", "--input-tokens", "500", "--output-tokens", "250"),
        *("--shape", "8b", *own, "--usd-per-kwh", "0.1", "--pue", "1.3", "--json"),
    )
    card = of(found, "own h100")
    # 35064 / (4 x 8766 h) = $1 an hour, and 1.3 kW at $0.1: $1.13 for 720 hours.
    assert Decimal(card["total_usd"]) == Decimal("813.6") == Decimal(card["standing_usd"])
    assert Decimal(card["range_usd"]["low"]) == 720
    assert (card["waits"]["cold_rate"], card["waits"]["p99_seconds"]) == (0, 0)
    even = card["break_even"]
    # A request costs 500 x $1 + 250 x $2 for a million: $0.001; $27.12 a day is 27,120 of them.
    assert even["against"] == "tokens" and even["requests_per_day"] == 27120
    by_batch = {at["batch"]: at["utilisation"] for at in even["by_batch"]}
    seconds = card["execute"]["mean_seconds"]
    assert by_batch[1] == pytest.approx(27120 * seconds / 86400, rel=1e-2)
    assert by_batch[32] < by_batch[8] < by_batch[1]
    assert "up all day it beats tokens from 27,120 requests a day" in run(
        *("llama", "--requests-per-day", "1000", "--input-tokens", "500", "--output-tokens", "250"),
        *("--shape", "8b", *own),
    )


def test_a_replica_that_would_drown_is_not_called_cheap(run: Run) -> None:
    many = ("--requests-per-day", "5e6", "--input-tokens", "600", "--output-tokens", "200")
    own = ("--own-gpu", "h100", "--capex-usd", "30000")
    found = run("llama", *many, *own, "--shape", "8b", "--boot-seconds", "20", "--json")
    card = of(found, "own h100")
    assert card["replicas"] > 1 and card["waits"]["p95_seconds"] is None
    assert any("replicas carry that" in note for note in card["notes"])
    one = of(run("llama", *own, *many[2:], "--requests-per-day", "5", "--json"), "own h100")
    fleet = Decimal(one["total_usd"]) * card["replicas"]
    assert abs(Decimal(card["total_usd"]) - fleet) < Decimal("0.01")
    assert found["traffic"]["sample"] is not None
    assert of(found, "card")["sampling_error"] is not None


@pytest.mark.usefixtures("ledger")
def test_caches_and_rounding(run: Run, config: Path) -> None:
    config.write_text(
        config.read_text()
        + """
  - {name: cached, effective_from: 2026-01-01, usd_per_million_input_tokens: "1",
     usd_per_million_output_tokens: "2", usd_per_million_cached_input_tokens: "0.1",
     source: a page, checked_on: 2026-01-01}
  - {name: tens-h100, effective_from: 2026-01-01, usd_per_second: "1", round_up_seconds: "10",
     source: a page, checked_on: 2026-01-01}
  - {name: tomorrow-h100, effective_from: 2126-01-01, usd_per_second: "1",
     source: a page, checked_on: 2026-01-01}
"""
    )
    found = run("llama", "--price", "cached", "--json")
    cached, tens = of(found, "cached"), of(found, "tens-h100")
    assert cached["total_usd"] == "0.004" and cached["status"] == "estimated"
    assert cached["range_usd"] == {"low": "0.0022", "high": "0.004"}
    assert Decimal(tens["active_usd"]) == 200  # 20 requests of 4 s, 10 s billed for each
    assert "tomorrow-h100" not in [row["name"] for row in found["candidates"]]
    assert "in force" in run("llama", "--price", "tomorrow-h100", status=2)


def test_machines_that_stand_are_paid_for_all_the_time(run: Run, config: Path) -> None:
    config.write_text(
        config.read_text().replace(
            "price: my-h100}",
            'standing_machines: 2, price: {usd_per_second: "0.001", bills: [standing]}}',
        )
    )
    made_up = ("--requests-per-day", "50", "--input-tokens", "600", "--output-tokens", "200")
    card = of(run("llama", *made_up, "--shape", "8b", "--json"), "card")
    assert Decimal(card["standing_usd"]) == 2 * 30 * 86400 * Decimal("0.001")
    assert card["total_usd"] == card["standing_usd"] and card["active_usd"] == "0"
    assert (card["waits"]["cold_rate"], card["keep_alive"]["seconds"]) == (0, None)
    assert card["break_even"]["usd_per_day"] == "172.8"


def test_a_window_that_is_configured(run: Run, config: Path) -> None:
    text = config.read_text().replace("price: my-h100}", "price: my-h100, idle_window_seconds: 7}")
    config.write_text(text)
    made_up = ("--requests-per-day", "50", "--input-tokens", "600", "--output-tokens", "200")
    asked = ("llama", *made_up, "--shape", "8b", "--boot-seconds", "5", "--json")
    assert of(run(*asked), "card")["keep_alive"]["seconds"] == 7
    found = run(*asked, "--keep-alive-seconds", "9")
    assert of(found, "card")["keep_alive"]["seconds"] == 9


@pytest.mark.usefixtures("ledger")
def test_as_csv_an_empty_cell_is_not_known(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("llama", "--csv"))))
    by_name = {row["name"]: row for row in rows}
    assert by_name["nobody-knows"]["total_usd"] == "" == by_name["nobody-knows"]["p95_seconds"]
    assert by_name["tokens"]["total_usd"] == "0.004" and by_name["tokens"]["boot_usd"] == "0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nope",), "No model named 'nope'"),
        ((), "say which model: llama, other"),
        (("llama",), "there is no ledger in"),
        (("llama", "--requests-per-day", "5"), "requests_per_day needs input_tokens"),
        (("llama", "--requests-per-day", "much"), "requests_per_day is a number from"),
        (("llama", "--json", "--csv"), "--json or --csv, not both"),
        (("llama", "--filter", "x"), "'x' is not NAME=VALUE"),
        (("llama", "--trace-where", "a=b"), "--trace-where belongs to --trace"),
    ],
)
def test_what_cannot_be_answered_says_why(run: Run, arguments: tuple[str, ...], said: str) -> None:
    assert said in run(*arguments, status=2)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--filter", "colour=red"), "A filter is one of"),
        (("--price", "nope"), "No price named 'nope'"),
        (("--own-gpu", "abacus", "--capex-usd", "1"), "own_gpu: no card of this name"),
        (("--own-gpu", "h100"), "own_gpu needs capex_usd"),
        (("--watts", "5"), "watts belongs to own_gpu"),
        (("--own-gpu", "h100", "--capex-usd", "1", "--life-years", "0"), "more than 0"),
        (("--shape", "nope"), "shape is one of"),
        (("--places", "1.5"), "places is a whole number"),
        (("--boot-seconds", "nan"), "boot_seconds is a number"),
    ],
)
def test_questions_that_are_wrong(run: Run, arguments: tuple[str, ...], said: str) -> None:
    assert said in run("llama", *arguments, status=2)


def test_no_traffic_is_no_answer(run: Run, tmp_path: Path) -> None:
    fill(tmp_path / "data", [served(1, now_us() - HOUR_US, "tokens", status="failed")])
    found = run("llama", "--json")
    assert found["cheapest"] is None and "nothing to compare" in found["sentence"]


def test_a_sample_of_stretches_stands_for_the_whole(tmp_path: Path) -> None:
    start = now_us() - 90_000_000_000
    rows = [served(n, start + n * 20_000_000, "tokens" if n % 2 else "card") for n in range(4000)]
    fill(tmp_path, rows)
    reports = Reports(database_path(tmp_path))
    query = ReportQuery(start - HOUR_US, now_us(), filters={"model": ("llama",)})
    whole, part = reports.traffic(query), reports.traffic(query, most_rows=1000)
    again = reports.traffic(query, most_rows=1000)
    nobody = reports.traffic(ReportQuery(0, now_us(), filters={"model": ("none",)}))
    reports.close()
    assert (whole.requests, whole.is_sample) == (4000, False)
    assert part.is_sample and 500 < part.requests_read < 1500
    assert part.requests == pytest.approx(4000, rel=0.05)
    assert len(part.stretches) >= 48 and part.notes
    assert [s.start_at_us for s in again.stretches] == [s.start_at_us for s in part.stretches]
    for stretch in part.stretches[1:]:
        assert stretch.before is not None
        assert 0 < stretch.start_at_us - stretch.before[0] <= 20_000_000
        assert all(stretch.start_at_us <= at < stretch.end_at_us for at in stretch.arrivals.at_us)
    assert nobody.requests == 0


def test_a_sample_is_right_within_its_error(config: Path, tmp_path: Path) -> None:
    start = now_us() - 200_000_000_000
    rows = [served(n, start + n * 50_000_000 + (n % 7) * 9_000_000, "card") for n in range(3000)]
    fill(tmp_path, rows)
    settings = load(config, {})
    ask = ask_of({"model": "llama", "boot_seconds": "20"})
    query = ReportQuery(start - HOUR_US, now_us(), filters={"model": ("llama",)})
    reports = Reports(database_path(tmp_path))
    whole, part = (
        answer(settings, price_book(settings), ask, query, reports, most_rows=most)
        for most in (10_000, 900)
    )
    reports.close()
    assert whole["traffic"]["sample"] is None and part["traffic"]["sample"] is not None
    for name in ("card", "tokens"):
        exact, guess = of(whole, name), of(part, name)
        low, high = (Decimal(guess["range_usd"][end]) for end in ("low", "high"))
        assert low <= Decimal(exact["total_usd"]) <= high
        assert guess["status"] == "estimated"
    assert 0 < of(part, "card")["sampling_error"] < 0.2
