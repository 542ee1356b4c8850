"""Requests in columns: when each came, what it used, and where. Pure; millions fit in memory."""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from operator import le

UNKNOWN = -1
"""Stands for "not known" in the columns: no count and no duration is negative."""


class Arrivals:
    """Columns of one length, in the order of time. Durations are integer microseconds."""

    __slots__ = (
        "at_us",
        "cost_pico_usd",
        "execute_us",
        "images",
        "input_tokens",
        "output_tokens",
        "source",
        "wait_us",
    )

    def __init__(self) -> None:
        self.at_us = array("q")
        self.source = array("H")
        """Number of the deployment that served it, in ``Traffic.sources``."""
        self.execute_us = array("q")
        self.input_tokens = array("q")
        self.output_tokens = array("q")
        self.images = array("q")
        self.cost_pico_usd = array("q")
        """What it did cost, where that was measured."""
        self.wait_us = array("q")
        """From its begin until work began, where that was seen."""

    def __len__(self) -> int:
        return len(self.at_us)

    def add(
        self,
        at_us: int,
        *,
        source: int = 0,
        execute_us: int = UNKNOWN,
        input_tokens: int = UNKNOWN,
        output_tokens: int = UNKNOWN,
        images: int = UNKNOWN,
        cost_pico_usd: int = UNKNOWN,
        wait_us: int = UNKNOWN,
    ) -> None:
        """One more, no earlier than the last; else ``sort`` when all are there."""
        self.at_us.append(at_us)
        self.source.append(source)
        self.execute_us.append(execute_us)
        self.input_tokens.append(input_tokens)
        self.output_tokens.append(output_tokens)
        self.images.append(images)
        self.cost_pico_usd.append(cost_pico_usd)
        self.wait_us.append(wait_us)

    def sort(self) -> None:
        """Into the order of time, where they were added in another one."""
        if all(map(le, self.at_us, islice(self.at_us, 1, None))):
            return
        order = sorted(range(len(self)), key=self.at_us.__getitem__)
        for name in Arrivals.__slots__:
            column = getattr(self, name)
            setattr(self, name, array(column.typecode, map(column.__getitem__, order)))

    def part(self, start: int, end: int) -> Arrivals:
        """Rows from ``start`` to before ``end``."""
        found = Arrivals()
        for name in Arrivals.__slots__:
            setattr(found, name, getattr(self, name)[start:end])
        return found

    def total(self, column: Sequence[int]) -> int | None:
        """The sum of a column; None where any of it is not known."""
        return None if UNKNOWN in column else sum(column)


@dataclass(slots=True)
class Stretch:
    """A stretch of time with all of its arrivals.

    ``before``: instant and duration of the last request before it, so that a replay knows whether
    the replica was up; None: nothing came for long, and it was not.
    """

    start_at_us: int
    end_at_us: int
    arrivals: Arrivals
    before: tuple[int, int] | None = None


@dataclass(slots=True)
class Measured:
    """What was seen of one deployment in the same time."""

    requests: int = 0
    cold: int = 0
    warm: int = 0
    boot_seconds: list[float] = field(default_factory=list)
    wait_seconds: list[float] = field(default_factory=list)
    """Of those whose wait is known, 0 for a warm one."""


@dataclass(slots=True)
class Traffic:
    """Requests over a range of time: all of them, or whole stretches drawn from it.

    ``stretches_in_range`` is how many of that length the range has; where fewer were read, sums
    stand for the range by that ratio.
    """

    origin: str
    start_at_us: int
    end_at_us: int
    stretches: list[Stretch]
    stretches_in_range: int
    sources: list[str] = field(default_factory=list)
    measured: dict[str, Measured] = field(default_factory=dict)
    left_out: int = 0
    """Read and not counted: those that did not succeed."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_sample(self) -> bool:
        """Whether a part stands for the whole."""
        return len(self.stretches) < self.stretches_in_range

    @property
    def requests_read(self) -> int:
        """Requests that are replayed."""
        return sum(len(stretch.arrivals) for stretch in self.stretches)

    @property
    def requests(self) -> int:
        """Requests in the range; of a sample, as far as it tells."""
        if not self.stretches:
            return 0
        return round(self.requests_read * self.stretches_in_range / len(self.stretches))

    @property
    def days(self) -> float:
        """Length of the range."""
        return (self.end_at_us - self.start_at_us) / 86_400e6


LENGTHS_US = (86_400_000_000, 3_600_000_000, 300_000_000, 60_000_000, 1_000_000)
FEWEST_STRETCHES = 48


def stretches_of(
    start_at_us: int, end_at_us: int, rows_in_range: int, most_rows: int, seed: int = 1
) -> tuple[int, list[int]]:
    """How long stretches are to be, and which: their numbers, drawn one from each equal part.

    The longest of a day, an hour, five minutes, one minute and a second of which enough fit into
    ``most_rows``.
    """
    span = max(1, end_at_us - start_at_us)
    for length in LENGTHS_US:
        count = max(1, span // length)
        fit = max(1, most_rows * count // max(1, rows_in_range))
        if min(fit, count) >= FEWEST_STRETCHES or length == LENGTHS_US[-1]:
            break
    fit = min(fit, count)
    dice = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    edges = [count * part // fit for part in range(fit + 1)]
    return length, [dice.randrange(low, high) for low, high in pairwise(edges)]


def sampled(
    arrivals: Arrivals, start_at_us: int, end_at_us: int, most_rows: int, seed: int = 1
) -> tuple[list[Stretch], int]:
    """Stretches of arrivals in memory, and how many the range has; one whole one if few came."""
    if len(arrivals) <= most_rows:
        return [Stretch(start_at_us, end_at_us, arrivals)], 1
    length, numbers = stretches_of(start_at_us, end_at_us, len(arrivals), most_rows, seed)
    found = []
    for number in numbers:
        begin = start_at_us + number * length
        first, last = (bisect_left(arrivals.at_us, at) for at in (begin, begin + length))
        before = None
        if first:
            before = (arrivals.at_us[first - 1], max(0, arrivals.execute_us[first - 1]))
        found.append(Stretch(begin, begin + length, arrivals.part(first, last), before))
    return found, max(1, (end_at_us - start_at_us) // length)


def rank(ordered: Sequence[float], share: float, zeros: int = 0) -> float | None:
    """A percentile by nearest rank of ``zeros`` zeros and then these, in their order."""
    count = zeros + len(ordered)
    if not count:
        return None
    place = max(0, -int(-count * share // 1) - 1)
    return 0.0 if place < zeros else ordered[place - zeros]
