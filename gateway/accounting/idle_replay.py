"""The machines that an earlier gateway left idle, by what the ledger knows of their uses.

The uses and stays of the past go through the same ``Machines`` as they did then; what is idle or
over at the end is what a new gateway goes on with, all of it. What was booked then is not booked
again. Units as in ``idle``; the past lies before the begin of this process's clock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.accounting.coldstart import Verdict
from gateway.accounting.idle import IdleGap, Machines

# A gap that is over is booked about a second later. What was over for less may be booked or not, so
# it is given again: by its id it counts once.
_BOOKED_WITHIN_SECONDS = 5.0
_FILE_CLOCK_SECONDS = 0.05  # the last sign of life is a file's time, which lags the clock somewhat


@dataclass(frozen=True, slots=True)
class Use:
    """An attempt that has ended. ``cut_off``: its gateway died, and booked nothing before it."""

    attempt_id: str
    begun_at: float
    ended_at: float
    verdict: Verdict
    worked: bool
    cut_off: bool = False


def take_up(
    machines: Machines,
    uses: Iterable[Use],
    stopped_at: float,
    *,
    stays: Iterable[tuple[float, float]] = (),
) -> list[IdleGap]:
    """Bring fresh ``machines`` to where they were when their gateway stopped; gives the gaps that
    it may have had no time to book.

    ``stays``: begin and end of each that a keep-warm policy wanted and that is booked as such.
    A gap that was still open then is none of these: it ends as any other does, with the next
    attempt or with its time.
    """
    steps: list[tuple[float, int, Callable[[], IdleGap | None], bool]] = []
    for since, until in stays:
        # It ends with the attempt that finds the machine, and is that machine's from before it.
        steps.append((until, -1, functools.partial(machines.keep, since, until), False))
    for use in uses:
        # A machine that is given back is free for what begins at the same instant.
        lasted = use.ended_at > use.begun_at
        begin = functools.partial(machines.begin, use.attempt_id)
        end = functools.partial(
            machines.end,
            *(use.attempt_id, use.begun_at, use.ended_at, use.verdict),
            worked=use.worked,
        )
        steps.append((use.begun_at, 2 if lasted else 1, begin, False))
        steps.append((use.ended_at, 0 if lasted else 1, end, use.cut_off))
    steps.sort(key=lambda step: step[:2])
    booked_until = stopped_at - _BOOKED_WITHIN_SECONDS
    unbooked = []

    def pass_to(at: float) -> None:
        for gap in machines.due(at):
            if gap.since_seconds + gap.high_seconds > booked_until:
                unbooked.append(gap)

    for at, _, step, cut_off in steps:
        pass_to(at)
        gap = step()
        if gap is not None and cut_off:
            unbooked.append(gap)
    pass_to(stopped_at + _FILE_CLOCK_SECONDS)
    return unbooked
