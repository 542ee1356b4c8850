"""Whose job was it? Only where there is no doubt."""

from __future__ import annotations

from gateway.reconciliation.matching import match
from providers.contract import JobReport
from tests.reconciliation.rows import at, at_us, broken_off


def job(job_id: str, seconds: float | None) -> JobReport:
    created_at = None if seconds is None else at(seconds)
    return JobReport(job_id, "succeeded", created_at=created_at)


def test_the_only_job_made_while_the_only_attempt_lived_is_its_own() -> None:
    row = broken_off(upstream_id=None)
    jobs = [job("before", -6), job("its", 1), job("after", 16), job("undated", None)]
    assert {key: found.job_id for key, found in match([row], jobs).items()} == {
        row.attempt_id: "its"
    }


def test_two_jobs_or_two_attempts_leave_a_doubt() -> None:
    one, two = broken_off(1, upstream_id=None), broken_off(2, upstream_id=None)
    assert match([one], [job("a", 1), job("b", 2)]) == {}
    assert match([one, two], [job("a", 1)]) == {}
    late = broken_off(3, upstream_id=None, begun_at_us=at_us(60), completed_at_us=at_us(70))
    assert set(match([one, late], [job("a", 1), job("b", 61)])) == {
        one.attempt_id,
        late.attempt_id,
    }
