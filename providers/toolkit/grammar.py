"""The grammar of events, as a checker.

``Accepted? Queued? Booting? Started? (Delta | Output)* Finished``.
One object for one attempt. The gateway puts it between adapter and ledger, so that a bad plugin
cannot corrupt what is kept; the contract suite uses the same one.
"""

from __future__ import annotations

from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    Finished,
    Output,
    ProtocolViolation,
    Queued,
    Started,
)

_OUTPUT = 5
_FINISHED = 6
_RANKS: dict[type, int] = {
    Accepted: 1,
    Queued: 2,
    Booting: 3,
    Started: 4,
    Delta: _OUTPUT,
    Output: _OUTPUT,
    Finished: _FINISHED,
}


class GrammarChecker:
    """Feed it every event of an attempt; it raises ProtocolViolation at the first wrong one."""

    __slots__ = ("_rank",)

    def __init__(self) -> None:
        self._rank = 0

    @property
    def finished(self) -> bool:
        return self._rank == _FINISHED

    def check(self, event: Event) -> None:
        rank = _RANKS.get(type(event), 0)
        if rank == _OUTPUT and self._rank <= _OUTPUT:
            if type(event) is Output:
                _check_output(event)
            self._rank = _OUTPUT
            return
        if rank <= self._rank:
            raise ProtocolViolation(self._complaint(event, rank))
        self._rank = rank
        if type(event) is Accepted and not event.job_id:
            raise ProtocolViolation("An adapter accepted work without a job id.")
        reported_at = getattr(event, "reported_at", None)
        if reported_at is not None and reported_at.utcoffset() is None:
            raise ProtocolViolation(f"{type(event).__name__}.reported_at has no time zone.")

    def end(self) -> None:
        """Call it when the generator has ended without an error."""
        if not self.finished:
            raise ProtocolViolation("An adapter ended an attempt without Finished.")

    def _complaint(self, event: Event, rank: int) -> str:
        name = type(event).__name__
        if rank == 0:
            return f"An adapter yielded a {name}, which is no event."
        last = {value: key.__name__ for key, value in _RANKS.items()}[self._rank]
        return f"An adapter yielded {name} after {last}."


def _check_output(output: Output) -> None:
    given = (output.value is not None) + (output.url is not None) + (output.data is not None)
    if given != 1:
        raise ProtocolViolation("An Output needs exactly one of value, url and data.")
