"""A trace as streams: the requests of each model or function by itself, in the order of time.

Of a file of requests, a column says whose each one is; in a file of minutes, each line is a stream,
and its requests are spread over each minute by a seed. Several files are one trace: requests lie
where their instants are, counts by minute one day after the other.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import le
from pathlib import Path

from gateway.ledger.errors import BadQuery
from gateway.traces.columns import Columns, columns_of, keep_where, whose_counts
from gateway.traces.counts import MINUTE_US, counts_of, numbered
from gateway.traces.files import Sheet, opened
from gateway.traces.instants import tokens
from gateway.traces.requests import Requests
from gateway.warmth.arrivals import UNKNOWN

MOST_REQUESTS = 30_000_000
"""Of a trace; 16 bytes each are kept."""
AS_FAST = (
    "A request is taken to last as long at each price: a slower card takes longer, and costs more "
    "than this says. gateway compare counts with that."
)
"""What has to be said where several prices serve the same requests."""
_DAY_US = 86_400_000_000


@dataclass(slots=True)
class Stream:
    """One deployment's requests: instants and durations in microseconds."""

    name: str
    at_us: array[int] = field(default_factory=lambda: array("q"))
    execute_us: array[int] = field(default_factory=lambda: array("q"))

    def sort(self) -> None:
        """In the order of time; what comes at one instant stays in its order."""
        at_us, execute_us = self.at_us, self.execute_us
        if all(map(le, at_us, islice(at_us, 1, None))):
            return
        order = sorted(range(len(at_us)), key=at_us.__getitem__)
        self.at_us = array("q", map(at_us.__getitem__, order))
        self.execute_us = array("q", map(execute_us.__getitem__, order))


@dataclass(slots=True)
class Streams:
    """All streams of a range of time."""

    start_at_us: int
    end_at_us: int
    streams: list[Stream]
    notes: list[str] = field(default_factory=list)
    boots: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of the boots that were seen in that time, by deployment."""

    @property
    def requests(self) -> int:
        """Requests of all of them."""
        return sum(len(stream.at_us) for stream in self.streams)

    @property
    def mean_execute_seconds(self) -> float:
        """Of all requests."""
        total_us = sum(sum(stream.execute_us) for stream in self.streams)
        return total_us / 1e6 / max(1, self.requests)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a trace is read: whose column, which streams, and what is not said in it."""

    by: str | None = None
    least_per_day: float = 0.0
    most_per_day: float = float("inf")
    execute_seconds: float = 1.0
    """Of a request whose duration the trace does not say."""
    seed: int = 1
    tokens_per_second: tuple[float, float] | None = None
    """Tokens in, and tokens out, that a second takes: for a trace of tokens without durations."""
    columns: Sequence[str] = ()
    """WHAT=COLUMN, for columns that are not known by their names."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Only lines with these values in these columns."""

    def keeps(self, requests: int, lasting_us: int) -> bool:
        """Whether a stream of so many requests in that time is asked often, and seldom, enough."""
        return self.least_per_day <= requests * _DAY_US / lasting_us <= self.most_per_day


def read_streams(paths: Sequence[Path], reading: Reading) -> Streams:
    """The streams of a trace of one file or several. Raises BadQuery."""
    gathered, days = _Gathered(reading), _Days(reading)
    for path in paths:
        with opened(path) as sheet:
            columns = columns_of(sheet, reading.by, reading.columns)
            keep_where(sheet, reading.where)
            minutes = numbered(sheet.head)
            if minutes and columns.instant is None:
                days.read(sheet, whose_counts(sheet, columns, minutes), minutes)
            else:
                gathered.read(sheet, columns)
    if days.found and gathered.found:
        raise BadQuery("trace", "--trace: files of requests and files of counts are not one trace.")
    if not days.found and not gathered.found:
        names = ", ".join(str(path) for path in paths)
        raise BadQuery("trace", f"--trace: there is no request in {names}.")
    return days.streams() if days.found else gathered.streams()


def of_rows(
    rows: Iterable[tuple[str, int, int]], reading: Reading, end_at_us: int | None = None
) -> Streams:
    """Streams of (whose, instant, duration or UNKNOWN). Raises BadQuery where none is left."""
    gathered = _Gathered(reading)
    for whose, at_us, execute_us in rows:
        gathered.add(whose, at_us, execute_us)
    return gathered.streams(end_at_us)


class _Gathered:
    """Requests as they are read, in any order."""

    def __init__(self, reading: Reading) -> None:
        self.found: dict[str, Stream] = {}
        self._reading = reading
        self._unsaid_us = round(reading.execute_seconds * 1e6)
        self._missing = self._negative = 0
        self._has_tokens = False
        self._notes: list[str] = []

    def read(self, sheet: Sheet, columns: Columns) -> None:
        """All requests of a file. Raises BadQuery."""
        requests = Requests(sheet, columns)
        self._has_tokens |= columns.output_tokens is not None
        by_tokens = _by_tokens(columns, self._reading.tokens_per_second)
        room = MOST_REQUESTS - sum(len(stream.at_us) for stream in self.found.values())
        name_of = columns.namer
        for row, at_us, execute_us in requests:
            if execute_us == UNKNOWN and by_tokens is not None:
                try:
                    execute_us = by_tokens(row)
                except (ValueError, OverflowError):
                    raise sheet.refusal("its tokens are no counts") from None
            self.add(name_of(row), at_us, execute_us)
            room -= 1
            if room < 0:
                raise _too_many()
        self._negative += requests.negative
        if requests.how not in self._notes:
            self._notes.append(requests.how)

    def add(self, whose: str, at_us: int, execute_us: int) -> None:
        """One more."""
        stream = self.found.get(whose)
        if stream is None:
            stream = self.found[whose] = Stream(whose)
        if execute_us == UNKNOWN:
            self._missing += 1
            execute_us = self._unsaid_us
        stream.at_us.append(at_us)
        stream.execute_us.append(execute_us)

    def streams(self, end_at_us: int | None = None) -> Streams:
        """All of them, in the order of time. Raises BadQuery where none is left."""
        found = list(self.found.values())
        for stream in found:
            stream.sort()
        start_at_us = _from_zero(found)
        if end_at_us is None:
            end_at_us = max(stream.at_us[-1] for stream in found) + 1
        if self._missing:
            self._notes.append(self._assumed())
        kept = [s for s in found if self._reading.keeps(len(s.at_us), end_at_us - start_at_us)]
        if not kept:
            raise _none_left()
        return Streams(start_at_us, end_at_us, kept, self._notes)

    def _assumed(self) -> str:
        below = f" ({self._negative:,} of them one below 0)" if self._negative else ""
        told = (
            f"Of {self._missing:,} requests no duration is known{below}; "
            f"{self._reading.execute_seconds:g} s each is assumed (--execute-seconds)."
        )
        if self._has_tokens and self._reading.tokens_per_second is None:
            told += " --tokens-per-second takes them from the tokens."
        return told


class _Days:
    """Counts by minute as they are read, each file's minutes behind those of the one before."""

    def __init__(self, reading: Reading) -> None:
        self.found: dict[str, tuple[array[int], array[int]]] = {}
        """Of each stream the minutes that are not empty, and the requests in each."""
        self._reading = reading
        self._minutes = 0
        self._whose = "each line a stream"

    def read(self, sheet: Sheet, columns: Columns, minutes: range) -> None:
        """All counts of a file. Raises BadQuery."""
        if self._minutes and not columns.whose:
            raise sheet.refused("without a column that says whose a line is, days cannot be joined")
        name_of = columns.namer
        if columns.whose:
            names = " and ".join(repr(column.name) for column in columns.whose)
            self._whose = f"whose from {names}"
        for number, row in enumerate(sheet, 1):
            counts = counts_of(sheet, row, minutes)
            if not counts:
                continue
            name = name_of(row) if columns.whose else f"{number}"
            if name not in self.found:
                self.found[name] = (array("I"), array("I"))
            begins, calls = self.found[name]
            begins.extend(self._minutes + minute for minute, _ in counts)
            calls.extend(count for _, count in counts)
        self._minutes += len(minutes)

    def streams(self) -> Streams:
        """All of them. Raises BadQuery where none is left."""
        reading, lasting_us = self._reading, self._minutes * MINUTE_US
        dice = random.Random(reading.seed)  # noqa: S311 (a spread, not a secret)
        execute_us = round(reading.execute_seconds * 1e6)
        kept = {
            name: counted
            for name, counted in self.found.items()
            if reading.keeps(sum(counted[1]), lasting_us)
        }
        if not kept:
            raise _none_left()
        if sum(sum(calls) for _, calls in kept.values()) > MOST_REQUESTS:
            raise _too_many()
        found = Streams(0, lasting_us, [])
        for name, (minutes, calls) in kept.items():
            stream = Stream(name)
            for minute, count in zip(minutes, calls, strict=True):
                begin = minute * MINUTE_US
                stream.at_us.extend(
                    begin + at for at in sorted(dice.randrange(MINUTE_US) for _ in range(count))
                )
            stream.execute_us = array("q", [execute_us]) * len(stream.at_us)
            stream.sort()
            found.streams.append(stream)
        found.notes.append(
            f"Counts of {self._minutes:,} minute{'s' * (self._minutes != 1)}, {self._whose}. "
            "Requests are spread over each minute at random, by the seed, and take "
            f"{reading.execute_seconds:g} s each (--execute-seconds): the trace says neither."
        )
        return found


def _by_tokens(
    columns: Columns, rates: tuple[float, float] | None
) -> Callable[[Sequence[str]], int] | None:
    """How long a request of a line takes, by its tokens and so many in and out a second."""
    given, made = columns.input_tokens, columns.output_tokens
    if rates is None or made is None:
        return None

    def execute_us(row: Sequence[str]) -> int:
        count = tokens(row[made.place])
        if count == UNKNOWN:
            return UNKNOWN
        seconds = count / rates[1]
        if given is not None:
            seconds += max(0, tokens(row[given.place])) / rates[0]
        return round(seconds * 1e6)

    return execute_us


def _from_zero(found: Sequence[Stream]) -> int:
    """When the first one came; what began before the time from which a trace counts is moved by
    whole days, and all with it.
    """
    start_at_us = min(stream.at_us[0] for stream in found)
    if start_at_us >= 0:
        return start_at_us
    days_us = -(start_at_us // _DAY_US) * _DAY_US
    for stream in found:
        stream.at_us = array("q", (at + days_us for at in stream.at_us))
    return start_at_us + days_us


def _too_many() -> BadQuery:
    return BadQuery(
        "trace",
        f"--trace: more than {MOST_REQUESTS:,} requests. Replay a shorter time, or, of counts by "
        "minute, some of the streams: --calls-per-day.",
    )


def _none_left() -> BadQuery:
    return BadQuery("calls_per_day", "--calls-per-day leaves no stream of this trace.")
