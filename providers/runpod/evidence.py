"""Was a job's wait a boot? From its delay and from what the lists of workers showed meanwhile.

``delayTime`` is queue and boot together, so alone it proves one thing: a job that was picked up at
once waited for neither. A longer one proves nothing: a worker that has just done a job asks for the
next one up to a second later (``runpod`` 1.12.0, ``rp_scale.py``, ``get_jobs``; seen with the real
worker, 2026-11-26). Everything else rests on the workers:

* A list, read while the job was queued, without a worker that is up: whoever takes the job must
  boot first (``scale_state``).
* The worker that took it started after the job was submitted: it waited for that start
  (``timestamps_reported``), and the two spans are told apart. Both stamps are RunPod's, in whole
  seconds, cut, so that queue and boot may be off by one, and a boot that began and ended within the
  second before would be taken for this job's.
* The worker that took it was seen up, or starting, while the job was queued (``scale_state``).

A worker met for the first time proves nothing: FlashBoot wakes the same one again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from providers.contract import Booting, Phases
from providers.runpod.job import Job
from providers.runpod.workers import STARTING, UP, Worker


class Sightings:
    """What the lists showed of workers while one job waited."""

    def __init__(self) -> None:
        self.none_up = False  # at some moment while it was queued
        self._up: set[str] = set()
        self._perhaps_up: set[str] = set()
        self._starting: set[str] = set()
        self._started_at: dict[str, datetime] = {}

    def take(self, workers: Sequence[Worker], *, while_queued: bool) -> Booting | None:
        """Take in one list; the boot that it shows the job to wait for."""
        for worker in workers:
            if worker.startedAt is not None:
                self._started_at[worker.id] = worker.startedAt
            if while_queued and worker.status == STARTING:
                self._starting.add(worker.id)
            elif while_queued and worker.status in UP:
                self._perhaps_up.add(worker.id)
        if not while_queued or any(worker.status in UP for worker in workers):
            return None
        self.none_up = True
        states = sorted({worker.status.lower() for worker in workers if worker.status})
        return Booting("scale_state", detail=", ".join(states))

    def looked(self, *, still_queued: bool) -> None:
        """A look after a list. A worker that was up then may have come up, and taken the job, in
        between: it was up before only if the job is queued still.
        """
        if still_queued:
            self._up |= self._perhaps_up
        self._perhaps_up = set()

    def explain(self, phases: Phases, worker_id: str, created_at: datetime | None) -> Phases:
        """The wait of a job that this worker took, as far as it can be told."""
        wait_seconds, started_at = phases.wait_seconds, self._started_at.get(worker_id)
        if wait_seconds is None:
            return phases
        if started_at is not None and created_at is not None and started_at >= created_at:
            queue_seconds = min(wait_seconds, (started_at - created_at).total_seconds())
            return replace(
                phases,
                queue_seconds=queue_seconds,
                boot_seconds=wait_seconds - queue_seconds,
                waited_for_boot=True,
                evidence="timestamps_reported",
            )
        if worker_id in self._starting or self.none_up:
            return replace(
                phases,
                waited_for_boot=True,
                evidence="scale_state",
                caused_boot=False if worker_id in self._starting else None,
            )
        if worker_id in self._up:
            return _warm(phases, "scale_state")
        return phases

    def started_at(self, worker_id: str | None) -> datetime | None:
        """When a worker started, as far as a list has said."""
        return self._started_at.get(worker_id or "")


def phases_of(
    job: Job,
    warm_below_seconds: float,
    sightings: Sightings | None = None,
    created_at: datetime | None = None,
) -> Phases:
    """RunPod's own account of a job that has ended."""
    wait_seconds, worker_id = job.wait_seconds, job.worker_id
    phases = Phases(
        wait_seconds=wait_seconds,
        execute_seconds=job.execute_seconds,
        instance_id=worker_id,
    )
    booted = sightings is not None and sightings.none_up
    if wait_seconds is not None and wait_seconds < warm_below_seconds and not booted:
        return _warm(phases, "delay_reported")
    if sightings is None or worker_id is None:
        return phases
    return sightings.explain(phases, worker_id, created_at)


def _warm(phases: Phases, evidence: Literal["delay_reported", "scale_state"]) -> Phases:
    """All of the wait was a queue."""
    return replace(phases, queue_seconds=phases.wait_seconds, boot_seconds=0.0, evidence=evidence)
