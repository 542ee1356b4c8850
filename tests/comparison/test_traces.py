"""Traffic from files, and made-up traffic."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from gateway.comparison.trace_files import read_trace, what_if
from tests.comparison.conftest import Run, of

AZURE_LLM = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:20:50.9951690,100,47
"""
FUNCTIONS = """HashFunction,HashApp,HashOwner,minute_1,minute_2,minute_3,minute_4
a,x,x,2,0,0,1
b,x,x,0,0,3,0
"""
OWN = """time,duration
0,4
100,4
2000,2
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def test_tokens_with_seven_digits_of_a_second(run: Run, trace: Path) -> None:
    trace.write_text(AZURE_LLM)
    found = run("llama", "--trace", trace, "--json")
    traffic = found["traffic"]
    assert (traffic["origin"], traffic["requests"]) == ("trace", 3)
    assert traffic["start_time"] == "2023-11-16T18:15:46.680590Z"
    assert (traffic["mean_input_tokens"], traffic["mean_output_tokens"]) == (290, 66.67)
    assert Decimal(of(found, "tokens")["total_usd"]) == Decimal("0.00127")  # 870 + 2 x 200
    assert of(found, "tokens")["status"] == "estimated"
    assert "in 5.07 minutes" in found["sentence"]


def test_counts_of_minutes(run: Run, trace: Path) -> None:
    trace.write_text(FUNCTIONS)
    tokens = ("--input-tokens", "10", "--output-tokens", "20")
    found = run("llama", "--trace", trace, *tokens, "--json")
    assert found["traffic"]["requests"] == 6
    assert Decimal(of(found, "tokens")["total_usd"]) == Decimal("0.0003")
    assert "2 functions summed" in found["traffic"]["notes"][0]
    (stretch,) = read_trace(trace, 100).stretches
    assert [at // 60_000_000 for at in stretch.arrivals.at_us] == [0, 0, 2, 2, 2, 3]
    without = run("llama", "--trace", trace, "--json")
    assert of(without, "tokens")["total_usd"] is None
    assert "tokens of some requests" in of(without, "tokens")["unknown"]


def test_durations_are_of_the_card_that_they_were_measured_on(run: Run, trace: Path) -> None:
    trace.write_text(OWN)
    unsaid = of(run("llama", "--trace", trace, "--boot-seconds", "10", "--json"), "card")
    assert unsaid["execute"] is None and unsaid["total_usd"] is None
    asked = ("llama", "--trace", trace, "--boot-seconds", "10", "--json")
    same = of(run(*asked, "--measured-on", "h100"), "card")
    # 10 s of work, 2 boots, 86 s idle between the first two and 300 s twice: $0.001 a second.
    assert same["execute"]["mean_seconds"] == pytest.approx(10 / 3, rel=1e-3)
    assert Decimal(same["active_usd"]) == Decimal("0.01")
    assert Decimal(same["boot_usd"]) == Decimal("0.02")
    assert Decimal(same["idle_usd"]) == Decimal("0.686")
    assert (
        same["execute"]["status"] == "estimated"
        and "trace on the same card" in (same["execute"]["basis"])
    )
    slow = of(run(*asked, "--measured-on", "l4"), "card")
    assert slow["execute"]["mean_seconds"] == pytest.approx(10 / 3 * 300 / 3350, rel=1e-3)
    assert slow["execute"]["status"] == "estimated" and "scaled" in slow["execute"]["basis"]


def test_one_stream_of_many(run: Run, trace: Path) -> None:
    trace.write_text(
        "gmt_create,predict_status,exec_time_seconds,num_images_per_prompt,model\n"
        "2024-11-15 16:57:50,SUCCEED,32.0,1.0,M0\n"
        "2024-11-15 18:16:14,SUCCEED,43.0,2.0,M1\n"
        "2024-11-15 18:17:06,FAILED,3.0,1.0,M1\n"
        "2024-11-15 18:18:06,SUCCEED,5.0,4.0,M1\n"
    )
    asked = ("llama", "--trace", trace, "--measured-on", "h100", "--boot-seconds", "10")
    picked = ("--trace-where", "model=M1", "--trace-where", "predict_status=SUCCEED")
    found = run(*asked, *picked, "--json")
    assert found["traffic"]["requests"] == 2
    assert Decimal(of(found, "card")["active_usd"]) == Decimal("0.048")
    assert run(*asked, "--json")["traffic"]["requests"] == 4
    assert "no column 'colour', but gmt_create" in run(
        *asked, "--trace-where", "colour=red", status=2
    )
    assert "no request in" in run(*asked, "--trace-where", "model=M7", status=2)


def test_many_counts_are_sampled_by_whole_minutes(trace: Path) -> None:
    head = ",".join(["HashFunction", *(str(minute) for minute in range(1, 1441))])
    counts = ",".join(str(10 + minute % 5) for minute in range(1440))
    trace.write_text(f"{head}\na,{counts}\n")
    total = sum(10 + minute % 5 for minute in range(1440))
    found = read_trace(trace, 1000)
    assert found.is_sample and found.requests_read <= 1200
    assert found.requests == pytest.approx(total, rel=0.05)
    assert read_trace(trace, 10**6).requests == total


def test_many_requests_are_sampled(trace: Path) -> None:
    lines = "\n".join(f"{second * 10},1" for second in range(20_000))
    trace.write_text(f"at,duration\n{lines}\n")
    found = read_trace(trace, 2000)
    assert found.is_sample and found.requests == pytest.approx(20_000, rel=0.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "line 1: no column is called as one of instants is"),
        ("timestamp,duration\n", "no request in"),
        ("timestamp,duration\nsoon,1\n", "line 2: 'soon' in the column 'timestamp' is no instant"),
        ("timestamp,duration\n1\n", "line 2: it has 1 columns, and the head 2"),
        ("timestamp,duration\n\n1,4\n1,inf\n", "line 4: 'inf' in the column 'duration' is no dur"),
        ("timestamp,duration\n-1,4\n", "'-1' in the column"),
        ("timestamp,duration\n1e300,4\n", "'1e300' in the column"),
        ("timestamp,output_tokens\n1,many\n", "line 2: its tokens or images are no counts"),
        ("HashFunction,1,2\na,0,0\n", "no request in"),
        ("HashFunction,1,2\na,1,x\n", "line 2: 'x' in the column '2' is no count"),
        ("HashFunction,1,2\na,1,inf\n", "'inf' in the column '2' is no count"),
        ("HashFunction,1,2\na,1,0.5\n", "'0.5' in the column '2' is no count"),
        ("HashFunction,1,2\na,5,-2\n", "'-2' in the column '2' is no count"),
    ],
)
def test_files_that_are_no_trace(run: Run, trace: Path, text: str, said: str) -> None:
    trace.write_text(text)
    assert said in run("llama", "--trace", trace, status=2)


def test_files_that_cannot_be_read(run: Run, trace: Path) -> None:
    assert "cannot be read" in run("llama", "--trace", trace, status=2)
    trace.write_bytes(b"time,\xff\xfe\n1,2\n")
    assert "is not UTF-8" in run("llama", "--trace", trace, status=2)
    both = ("--trace", trace, "--requests-per-day", "5")
    assert "not both" in run("llama", *both, status=2)


def test_made_up_traffic_has_the_rate_that_was_asked_for() -> None:
    few = what_if(2000, 600, 200, 100_000)
    assert not few.is_sample and few.requests == pytest.approx(60_000, rel=0.02)
    many = what_if(1e6, 600, 200, 20_000)
    assert many.is_sample and many.requests_read == pytest.approx(20_000, rel=0.05)
    assert many.requests == pytest.approx(30e6, rel=0.05)
    assert what_if(0.001, 1, 1, 1000).requests <= 1


def test_a_crowd_on_a_card_of_which_nothing_is_known_has_no_price(run: Run, trace: Path) -> None:
    lines = "\n".join(f"{second},100" for second in range(500))
    trace.write_text(f"at,duration\n{lines}\n")
    asked = ("llama", "--trace", trace, "--measured-on", "h100", "--boot-seconds", "5", "--json")
    card = of(run(*asked), "card")  # a hundred requests at once
    assert card["total_usd"] is None and card["replicas"] is None
    assert "whether one replica can carry it" in card["unknown"]
    trace.write_text(f"at,duration\n{lines.replace(',100', ',4')}\n")
    assert of(run(*asked), "card")["total_usd"] is not None
