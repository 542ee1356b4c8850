"""What is known of cold starts at Modal: before a call, after it, and from the function itself.

Nothing here asserts more than was said. Three sources, weakest first:

* ``get_current_stats`` before the call. No container: the call waits for a boot. Room in a
  container and nobody waiting: it does not (whether Modal counts containers that still boot is
  not known; a backlog of none makes that unlikely). Everything else says nothing.
* Modal's stamps after it (see ``stamps``): a container made after the call was made for it, or
  for one beside it. One that had worked before the call was up. One made before the call and
  met for the first time may have been booting or not: unknown.
* The function's own word (see ``report``).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from datetime import datetime

from providers.contract import Booting, Phases, Started
from providers.modal.api import Outcome, Scale
from providers.modal.report import Report
from providers.modal.stamps import stamp_of

GRACE_SECONDS = 1.0  # between a process being ready and taking up a call that waited for it
_MOST_CONTAINERS = 4096


class Containers:
    """The containers that answered, and since when each is known to have worked."""

    def __init__(self) -> None:
        self._worked_at: OrderedDict[str, tuple[int, datetime | None]] = OrderedDict()
        self._met = 0

    def __repr__(self) -> str:
        return f"Containers({len(self._worked_at)})"

    def meet(self, container_id: str, worked_at: datetime | None = None) -> bool:
        """Take note; True at the first time. Of the calls that waited for a boot, the first to
        be answered counts as its cause, so that one boot is paid once."""
        first = container_id not in self._worked_at
        self._met += first
        number, known = self._worked_at.get(container_id, (self._met, None))
        if worked_at is not None and (known is None or worked_at < known):
            known = worked_at
        self._worked_at[container_id] = (number, known)
        self._worked_at.move_to_end(container_id)
        if len(self._worked_at) > _MOST_CONTAINERS:
            self._worked_at.popitem(last=False)
        return first

    def worked_before(self, container_id: str, moment: datetime) -> bool:
        """Whether it is known to have worked on something before."""
        _, worked_at = self._worked_at.get(container_id, (0, None))
        return worked_at is not None and worked_at < moment

    def mark(self) -> int:
        """A point in the order of things, for ``met_before``; there is no clock here."""
        return self._met

    def met_before(self, container_id: str | None, mark: int) -> bool:
        """Whether it had answered something already."""
        if container_id is None or container_id not in self._worked_at:
            return False
        return self._worked_at[container_id][0] <= mark


def before_the_call(scale: Scale | None) -> Booting | Started | None:
    """What the scale, read just before a call, says of it."""
    if scale is None:
        return None
    if scale.containers == 0:
        return Booting("scale_state", caused_boot=True if scale.backlog == 0 else None)
    if scale.backlog == 0 and scale.headroom > 0:
        return Started(evidence="scale_state")
    return None


def phases_of(call_id: str, outcome: Outcome, containers: Containers | None = None) -> Phases:
    """Modal's own account of a call that has ended; differences of its stamps, clamped at 0."""
    started_at, container_id = outcome.started_at, outcome.container_id
    called_at = stamp_of(call_id, started_at)
    made_at = stamp_of(container_id, started_at)
    phases = Phases(
        wait_seconds=_seconds(called_at, started_at),
        execute_seconds=_seconds(started_at, outcome.ended_at),
        instance_id=container_id,
    )
    if container_id is None or called_at is None or started_at is None or outcome.retries:
        return phases  # after a retry, the wait holds work that was lost
    known_up = containers is not None and containers.worked_before(container_id, called_at)
    first = containers.meet(container_id, started_at) if containers is not None else None
    if known_up:
        return replace(phases, boot_seconds=0.0, evidence="timestamps_reported")
    if made_at is not None and made_at >= called_at:
        return replace(
            phases,
            queue_seconds=_seconds(called_at, made_at),
            boot_seconds=_seconds(made_at, started_at),
            evidence="timestamps_reported",
            caused_boot=first,
        )
    if made_at is not None:
        phases = replace(phases, caused_boot=False)  # if it did boot, it was for another call
    return phases


def with_report(phases: Phases, report: Report | None, containers: Containers, mark: int) -> Phases:
    """The account completed by the function's own; Modal's stamps stand where both speak.

    ``mark``: of the containers, taken before the call. Who had answered by then was up.
    """
    if report is None:
        return phases
    instance_id = phases.instance_id or report.instance_id
    phases = replace(
        phases,
        instance_id=instance_id,
        execute_seconds=_first(phases.execute_seconds, report.execute_seconds),
    )
    boot_seconds = _boot_waited_for(report, phases.wait_seconds)
    if boot_seconds and containers.met_before(instance_id, mark):
        boot_seconds = 0.0
    if phases.evidence is not None or boot_seconds is None:
        return phases
    first = containers.meet(instance_id) if instance_id is not None else None
    return replace(
        phases,
        boot_seconds=boot_seconds,
        evidence="delay_reported",
        caused_boot=first if boot_seconds > 0 else False,
    )


def _boot_waited_for(report: Report, wait_seconds: float | None) -> float | None:
    """Seconds of boot that a call waited for; 0: the process was up. None: it cannot be told."""
    age, boot = report.process_age_seconds, report.boot_seconds
    if age is None:
        return None
    if boot is not None:
        # Whoever has waited for less time than it is ready came later.
        ready_seconds = age - boot
        if ready_seconds > (GRACE_SECONDS if wait_seconds is None else wait_seconds):
            return 0.0
        return boot if wait_seconds is None else min(boot, wait_seconds)
    if wait_seconds is None:
        return None
    return age if age < wait_seconds else 0.0


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    if since is None or until is None:
        return None
    return max(0.0, (until - since).total_seconds())


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one
