"""Whom to ask, when, how often, and what to write down. Time is an argument: nothing waits."""

from __future__ import annotations

import itertools

import pytest

from gateway.reconciliation.lookups import Answer, Correction, Lookups, Patience
from providers.contract import JobReport, Phases
from tests.reconciliation.rows import at_us, broken_off

PATIENCE = Patience(10, 3600, 3600, 172_800)
ENDED = JobReport("job-0", "succeeded", None, Phases(execute_seconds=2.0))
RUNNING = JobReport("job-0", "running")


def asked_until_the_end(answer: Answer) -> tuple[list[float], Correction]:
    """When it was asked, in seconds since its end, and what was written at last."""
    lookups, now_us, asked = Lookups(PATIENCE), at_us(12), []
    lookups.observe([broken_off()], now_us)
    while True:
        (row,) = lookups.due(now_us)
        asked.append((now_us - at_us(10)) / 1e6)
        correction = lookups.answered(row.attempt_id, answer, now_us)
        if correction is not None:
            assert lookups.next_wakeup_us() is None
            return asked, correction
        assert lookups.due(now_us) == []
        wakeup_us = lookups.next_wakeup_us()
        assert wakeup_us is not None and wakeup_us > now_us
        now_us = wakeup_us


def test_a_job_that_has_ended_is_asked_about_once() -> None:
    asked, correction = asked_until_the_end(ENDED)
    assert asked == [2.0]
    assert (correction.attempt_id, correction.reason) == ("att_000000", "looked_up")
    assert correction.set["cost_pico_usd"] == 1_950_000_000
    assert correction.set["lookup"] == "looked_up"


def test_a_job_that_runs_is_asked_about_again_and_given_up_at_last() -> None:
    asked, correction = asked_until_the_end(RUNNING)
    assert asked[:4] == [2.0, 12.0, 22.0, 33.0]
    pauses = [b - a for a, b in itertools.pairwise(asked)]
    assert max(pauses) == 3600 and len(asked) < 70
    assert asked[-1] == 172_800
    assert (correction.reason, correction.set) == ("lookup_gave_up", {"lookup": "gave_up"})


def test_a_job_that_nobody_knows_is_given_up_after_an_hour() -> None:
    asked, correction = asked_until_the_end("unknown")
    assert asked[-1] == 3600 and len(asked) < 20
    assert correction.reason == "lookup_gave_up"


def test_a_provider_that_refuses_is_left_alone_for_a_while_with_all_its_attempts() -> None:
    lookups, now_us = Lookups(PATIENCE), at_us(12)
    lookups.observe([broken_off(number) for number in range(3)], now_us)
    elsewhere = broken_off(9, provider="modal")
    lookups.observe([elsewhere], now_us)
    first, second, *_ = lookups.due(now_us)
    for row in (first, second):
        assert lookups.answered(row.attempt_id, "failed", now_us) is None
    assert lookups.is_held("replicate", now_us + 59_000_000)
    assert not lookups.is_held("modal", now_us)
    lookups.put_off("att_000002")
    assert lookups.due(now_us + 59_000_000) == []
    again = lookups.due(now_us + 60_000_000)
    assert {row.attempt_id for row in again} == {f"att_00000{n}" for n in range(3)}
    # A refusal after the first hold is held for longer; an answer ends it.
    lookups.answered("att_000000", "failed", now_us + 60_000_000)
    assert lookups.is_held("replicate", now_us + 300_000_000)
    lookups.answered("att_000001", ENDED, now_us + 61_000_000)
    assert not lookups.is_held("replicate", now_us + 61_000_000)


def test_what_is_settled_is_not_taken_in_again() -> None:
    lookups, now_us = Lookups(PATIENCE), at_us(12)
    lookups.observe([broken_off()], now_us)
    lookups.due(now_us)
    lookups.answered("att_000000", ENDED, now_us)
    lookups.observe([broken_off()], now_us)  # the correction is not in the database yet
    assert lookups.due(now_us) == []


@pytest.mark.parametrize(("status", "seconds"), [("interrupted", 12), ("failed", 100)])
def test_one_without_an_id_waits_until_others_have_theirs(status: str, seconds: int) -> None:
    lookups = Lookups(PATIENCE)
    lookups.observe([broken_off(upstream_id=None, status=status)], at_us(12))
    assert lookups.next_wakeup_us() == at_us(seconds)
    assert len(lookups.due(at_us(seconds))) == 1
    correction = lookups.answered("att_000000", ENDED, at_us(seconds))
    assert correction is not None and correction.reason == "found"
    assert correction.set["upstream_id"] == "job-0"


def test_a_job_that_has_ended_by_the_providers_own_word_waits_for_nothing() -> None:
    lookups, now_us = Lookups(PATIENCE), at_us(12)
    lookups.observe([broken_off(number) for number in range(2)], now_us)
    for row in lookups.due(now_us):
        lookups.answered(row.attempt_id, "failed", now_us)  # the provider is left alone
    assert lookups.due(now_us + 1) == []
    lookups.told("modal", "job-0", now_us + 1)  # another provider's
    assert lookups.due(now_us + 1) == []
    lookups.told("replicate", "job-0", now_us + 1)
    assert lookups.next_wakeup_us() == now_us + 1
    (row,) = lookups.due(now_us + 1)
    assert row.upstream_id == "job-0" and not lookups.must_wait(row.attempt_id, now_us + 1)
    assert lookups.must_wait("att_000001", now_us + 1)
    assert lookups.answered(row.attempt_id, ENDED, now_us + 1) is not None


def test_one_that_ends_while_it_is_asked_about_is_asked_about_again_at_once() -> None:
    lookups, now_us = Lookups(PATIENCE), at_us(12)
    lookups.observe([broken_off()], now_us)
    (row,) = lookups.due(now_us)
    lookups.told("replicate", "job-0", now_us)
    assert lookups.answered(row.attempt_id, RUNNING, now_us + 1) is None
    assert len(lookups.due(now_us + 1)) == 1
    assert lookups.answered(row.attempt_id, ENDED, now_us + 2) is not None


def test_word_of_a_job_may_come_before_its_row_and_is_not_waited_for_for_ever() -> None:
    lookups, now_us = Lookups(PATIENCE), at_us(12)
    for job_id in ("job-0", "nobodys"):
        lookups.told("replicate", job_id, now_us)
    lookups.observe([broken_off()], now_us + 1)
    assert len(lookups.due(now_us + 1)) == 1
    assert lookups.expects(now_us + 14_999_999) and not lookups.expects(now_us + 15_000_000)
    # Told again of what is settled: nothing is done twice.
    assert lookups.answered("att_000000", ENDED, now_us + 2) is not None
    lookups.told("replicate", "job-0", now_us + 3)
    lookups.observe([broken_off()], now_us + 3)
    assert lookups.due(now_us + 3) == []
