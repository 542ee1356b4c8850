"""Where the seconds of one attempt went, folded from its events."""

from __future__ import annotations

from dataclasses import replace

from providers.contract import Booting, Delta, Event, Finished, Output, Phases, Queued, Started


class Timeline:
    """The phases of one attempt.

    Units:  seconds of the gateway's monotonic clock; ``None`` where nothing was said. A provider's
            own account of a phase (``Phases``) takes the place of our stamps for that phase; a
            wait that it does not divide into queue and boot is not divided by our stamps either.
            ``booted_before``: the gateway had it boot before the call, and waited for that.
    Shape:  ``observe`` takes events in arrival order, ``end`` comes once and last.
    """

    __slots__ = (
        "_booting_at",
        "_ended_at",
        "_first_output_at",
        "_queued_at",
        "_started_at",
        "begun_at",
        "booted_before",
        "booting",
        "phases",
        "started",
    )

    def __init__(self, begun_at: float) -> None:
        self.begun_at = begun_at
        self.booted_before = False
        self.booting: Booting | None = None
        self.started: Started | None = None
        self.phases: Phases | None = None
        self._queued_at: float | None = None
        self._booting_at: float | None = None
        self._started_at: float | None = None
        self._first_output_at: float | None = None
        self._ended_at: float | None = None

    def observe(self, event: Event, at: float) -> None:
        """Take in one event, stamped ``at`` on the monotonic clock."""
        match event:
            case Delta() | Output():
                if self._first_output_at is None:
                    self._first_output_at = at
            case Finished():
                self.phases = self._of_call(event.phases) or self.phases
            case Queued():
                self._queued_at = at if self._queued_at is None else self._queued_at
            case Booting():
                if self.booting is None:
                    self.booting, self._booting_at = event, at
            case Started():
                if self.started is None:
                    self.started, self._started_at = event, at
            case _:
                pass

    def boots_on(self) -> None:
        """The begin of work that was taken in last was none: it still boots."""
        self.started = self._started_at = None

    def end(self, at: float, phases: Phases | None = None) -> None:
        """The attempt is over; ``phases`` where a failure carried the provider's account."""
        self._ended_at = at
        self.phases = self._of_call(phases) or self.phases

    def _of_call(self, phases: Phases | None) -> Phases | None:
        """A provider's account. It knows the call alone, and of a boot before it says: warm."""
        if phases is None or not self.booted_before:
            return phases
        none = {"boot_seconds": None, "wait_seconds": None, "waited_for_boot": None}
        return replace(phases, **none, evidence=None, caused_boot=None)

    @property
    def has_output(self) -> bool:
        """Whether anything of an answer has come."""
        return self._first_output_at is not None

    @property
    def work_began(self) -> bool:
        """Whether the provider is known to have begun the work."""
        return self._started_at is not None or self._first_output_at is not None

    @property
    def waiting_since(self) -> float | None:
        """Stamp at which the present wait (boot, else queue) began; None while none is known."""
        if self.work_began:
            return None
        return self._booting_at if self._booting_at is not None else self._queued_at

    @property
    def waiting(self) -> bool:
        """Whether the attempt waits in a queue or for a boot, as far as the provider said."""
        return self.waiting_since is not None

    @property
    def waited_for_others(self) -> bool:
        """Whether it waited for a machine that it has not caused to boot, as far as was said."""
        if self.booting is not None:
            return self.booting.caused_boot is False
        return self._queued_at is not None

    @property
    def working_since(self) -> float | None:
        """Stamp of the begin of work, as far as is known: the dispatch, until a wait is reported.

        None while the attempt is known to wait.
        """
        if self._started_at is not None:
            return self._started_at
        if self._queued_at is None and self._booting_at is None:
            return self.begun_at
        return self._first_output_at

    @property
    def waited_until(self) -> float:
        """Stamp at which the work began; where nothing marked it, by the seconds of the work."""
        if self._started_at is not None:
            return self._started_at
        ended_at = self.begun_at if self._ended_at is None else self._ended_at
        return ended_at - (self.execute_seconds or 0.0)

    @property
    def _work_at(self) -> float | None:
        if self._started_at is not None:
            return self._started_at
        if self._first_output_at is not None:
            return self._first_output_at
        return self._ended_at

    @property
    def queue_seconds(self) -> float | None:
        """Waiting for a place."""
        if self.phases is not None and (
            self.phases.queue_seconds is not None or self.phases.wait_seconds is not None
        ):
            return _not_below_0(self.phases.queue_seconds)
        until = self._booting_at if self._booting_at is not None else self._work_at
        return _span(self._queued_at, until)

    @property
    def boot_seconds(self) -> float | None:
        """Waiting for a boot, whoever caused it."""
        if self.phases is not None and (
            self.phases.boot_seconds is not None or self.phases.wait_seconds is not None
        ):
            return _not_below_0(self.phases.boot_seconds)
        return _span(self._booting_at, self._work_at)

    @property
    def wait_seconds(self) -> float | None:
        """From dispatch until work began; None where the provider does not say when it does."""
        if self.phases is not None and self.phases.wait_seconds is not None:
            return _not_below_0(self.phases.wait_seconds)
        if self._queued_at is None and self._booting_at is None and self._started_at is None:
            return None
        return _span(self.begun_at, self._work_at)

    @property
    def first_output_seconds(self) -> float | None:
        """From dispatch to the first output."""
        return _span(self.begun_at, self._first_output_at)

    @property
    def execute_seconds(self) -> float | None:
        """Work: from its begin, or from dispatch where nothing marks one, to the end.

        0 for an attempt that ended while it waited.
        """
        if self.phases is not None and self.phases.execute_seconds is not None:
            return _not_below_0(self.phases.execute_seconds)
        if self._ended_at is None:
            return None
        if self._started_at is not None:
            return _span(self._started_at, self._ended_at)
        if self._queued_at is None and self._booting_at is None:
            return _span(self.begun_at, self._ended_at)
        return _span(self._work_at, self._ended_at)

    @property
    def total_seconds(self) -> float | None:
        """From dispatch to the end."""
        return _span(self.begun_at, self._ended_at)


def _not_below_0(seconds: float | None) -> float | None:
    # What is no number stays as it is: whoever computes with it fails, and the cost is unknown.
    return 0.0 if seconds is not None and seconds < 0 else seconds


def _span(since: float | None, until: float | None) -> float | None:
    # Clamped: two stamps of one loop iteration can stand in either order.
    return None if since is None or until is None else max(0.0, until - since)
