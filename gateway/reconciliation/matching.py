"""Whose job was it? For attempts whose gateway died before it was told an id.

The one comparison of their clock with ours: a job can only be that of an attempt if it was made
while the attempt lived, give or take ``SKEW_SECONDS``. A pair is made only where the attempt has
no other candidate and the job no other claimant; everything else stays an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from gateway.ledger.rows import AttemptRow
from providers.contract import JobReport

SKEW_SECONDS = 5.0


def window(row: AttemptRow) -> tuple[datetime, datetime]:
    """From when to when the attempt's job can have been made."""
    skew = timedelta(seconds=SKEW_SECONDS)
    return _at(row.begun_at_us) - skew, _at(row.completed_at_us or row.begun_at_us) + skew


def match(rows: Sequence[AttemptRow], jobs: Iterable[JobReport]) -> dict[str, JobReport]:
    """Jobs by attempt id, where there is no doubt."""
    candidates: dict[str, list[JobReport]] = {row.attempt_id: [] for row in rows}
    claimants: dict[str, int] = {}
    for job in jobs:
        if job.created_at is None:
            continue
        for row in rows:
            since, until = window(row)
            if since <= job.created_at <= until:
                candidates[row.attempt_id].append(job)
                claimants[job.job_id] = claimants.get(job.job_id, 0) + 1
    return {
        attempt_id: jobs[0]
        for attempt_id, jobs in candidates.items()
        if len(jobs) == 1 and claimants[jobs[0].job_id] == 1
    }


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)
