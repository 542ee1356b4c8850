"""The checks that make a figure believable must be able to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.benchmarks import answers, prerequisites
from tests.benchmarks.answers import WrongAnswer
from tests.benchmarks.gateway import usd_per_answer
from tests.benchmarks.ledger import Booked, LedgerCheck
from tests.benchmarks.options import parse
from tests.benchmarks.prerequisites import Missing, require_programs

_AGREES = LedgerCheck(
    answered=1_000,
    connections=10,
    booked=Booked({"succeeded": 1_004, "cancelled": 6}, Decimal("0.1004"), upstream_calls=1_008),
    usd_per_answer=Decimal("0.0001"),
)


def test_a_ledger_that_has_every_answer_and_every_cut_request_agrees() -> None:
    assert _AGREES.complaints() == []


@pytest.mark.parametrize(
    ("attempts", "usd", "upstream_calls", "complaint"),
    [
        ({"succeeded": 999}, "0.0999", 999, "1000 answers, but 999 succeeded"),
        ({"succeeded": 1_011}, "0.1011", 1_011, "1000 answers, but 1011 succeeded"),
        ({"succeeded": 1_004}, "0.1004", 1_005, "called 1005 times, but 1004 attempts"),
        ({"succeeded": 1_004}, "0.1004", 1_003, "called 1003 times, but 1004 attempts"),
        ({"succeeded": 1_000, "cancelled": 11}, "0.1", 1_011, "11 cancelled"),
        ({"succeeded": 1_000, "running": 1}, "0.1", 1_001, "1 attempts are running"),
        ({"succeeded": 1_000, "failed": 2}, "0.1", 1_002, "2 attempts are failed"),
        ({"succeeded": 1_000}, "0.0999", 1_000, "$0.0999 booked for 1000 answers of $0.0001"),
    ],
)
def test_a_ledger_that_does_not_agree_is_complained_of(
    attempts: dict[str, int], usd: str, upstream_calls: int, complaint: str
) -> None:
    booked = Booked(attempts, Decimal(usd), upstream_calls)
    (found,) = replace(_AGREES, booked=booked).complaints()
    assert complaint in found


def test_what_a_run_added_is_the_difference_of_two_readings() -> None:
    before = Booked({"succeeded": 5}, Decimal("0.5"), upstream_calls=5)
    after = Booked({"succeeded": 7, "cancelled": 1}, Decimal("0.7"), upstream_calls=8)
    assert after - before == Booked({"succeeded": 2, "cancelled": 1}, Decimal("0.2"), 3)


def test_the_price_of_an_answer_is_exact() -> None:
    assert usd_per_answer(answers.OUTPUT_TOKENS) == Decimal("0.00000124")


def test_the_fixed_answers_pass_their_own_checks() -> None:
    answers.check_completion(answers.completion_body().encode())
    answers.check_stream(answers.stream_body().encode())
    assert answers.stream_body().count("data: ") == answers.EVENTS_PER_STREAM


def _without_an_event(stream: str) -> str:
    frames = stream.split("\n\n")
    return "\n\n".join(frames[:50] + frames[51:])


def _cut_short(stream: str) -> str:
    return stream[: len(stream) // 2]


def _two_events_as_one(stream: str) -> str:
    return stream.replace('word7 "', 'word7 word8 "').replace('"word8 "', '""')


@pytest.mark.parametrize("damage", [_without_an_event, _cut_short, _two_events_as_one])
def test_a_damaged_stream_is_refused(damage: Callable[[str], str]) -> None:
    with pytest.raises(WrongAnswer):
        answers.check_stream(damage(answers.stream_body()).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices": []}', b'{"error": {}}'])
def test_another_answer_than_the_upstreams_is_refused(body: bytes) -> None:
    with pytest.raises(WrongAnswer):
        answers.check_completion(body)


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "find_program", lambda name: None)
    with pytest.raises(Missing, match=r"apt-get install nginx-light.*apt-get install wrk"):
        require_programs("nginx", "wrk")


def test_a_given_number_wins_over_quick() -> None:
    chosen = parse(["--quick", "--rounds", "3", "--only", "streams,memory"])
    assert (chosen.rounds, chosen.round_seconds, chosen.warm_up_seconds) == (3, 2, 0)
    assert chosen.only == ("streams", "memory")


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(["--only", "latency"])
    assert refused.value.code == 2
    assert "latency: not of requests" in capsys.readouterr().err
