"""A trace as streams: the requests of each model or function by itself, in the order of time.

The files are those of ``trace_files``. Of a file of requests, a column says whose each one is; in a
file of minutes, each line is a stream, and its requests are spread over each minute by a seed.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.comparison.trace_files import (
    DURATION,
    INPUT_TOKENS,
    INSTANT,
    MINUTE_US,
    OUTPUT_TOKENS,
    column_of,
    counts_of,
    duration_us,
    instant_us,
    minutes_of,
    opened,
    rows_of,
)
from gateway.ledger.errors import BadQuery
from gateway.warmth.arrivals import UNKNOWN

WHOSE = ("deployment", "model", "base_model", "function", "hashfunction", "stream")
_DAY_US = 86_400_000_000


@dataclass(slots=True)
class Stream:
    """One deployment's requests: instants and durations in microseconds."""

    name: str
    at_us: array[int] = field(default_factory=lambda: array("q"))
    execute_us: array[int] = field(default_factory=lambda: array("q"))


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


def read_streams(path: Path, reading: Reading) -> Streams:
    """The streams of a trace. Raises BadQuery."""
    with opened(path) as (head, lines):
        if column_of(head, INSTANT) is not None:
            return _requests(head, lines, reading)
        return _minutes(head, minutes_of(head, path), lines, reading)


def of_rows(
    rows: Sequence[tuple[str, int, int]], reading: Reading, end_at_us: int | None = None
) -> Streams:
    """Streams of (whose, instant, duration or UNKNOWN). Raises BadQuery where none is left."""
    if not rows:
        raise BadQuery("trace", "--trace: there is no request in it.")
    unsaid = round(reading.execute_seconds * 1e6)
    ordered = sorted(rows, key=lambda row: row[1])
    start = ordered[0][1]
    end = ordered[-1][1] + 1 if end_at_us is None else end_at_us
    found: dict[str, Stream] = {}
    missing = 0
    for whose, at, execute in ordered:
        stream = found.get(whose)
        if stream is None:
            stream = found[whose] = Stream(whose)
        stream.at_us.append(at)
        missing += execute == UNKNOWN
        stream.execute_us.append(unsaid if execute == UNKNOWN else execute)
    streams = Streams(start, end, list(found.values()))
    if missing:
        streams.notes.append(
            f"{missing:,} requests have no duration in it; {reading.execute_seconds:g} s each "
            "is assumed."
        )
    return _kept(streams, reading)


def _requests(head: Sequence[str], lines: Iterator[list[str]], reading: Reading) -> Streams:
    instant, duration = column_of(head, INSTANT), column_of(head, DURATION)
    tokens = tuple(column_of(head, names) for names in (INPUT_TOKENS, OUTPUT_TOKENS))
    rates = reading.tokens_per_second
    if reading.by is not None and reading.by.lower() not in head:
        raise BadQuery("by", f"--by: there is no column {reading.by!r}.")
    whose = column_of(head, WHOSE if reading.by is None else (reading.by.lower(),))
    assert instant is not None

    def read(line: list[str]) -> tuple[str, int, int]:
        return (
            "trace" if whose is None else line[whose],
            instant_us(line[instant]),
            _execute_us(line, duration, tokens, rates),
        )

    return of_rows(rows_of(lines, read), reading)


def _execute_us(
    line: Sequence[str],
    duration: int | None,
    tokens: Sequence[int | None],
    rates: tuple[float, float] | None,
) -> int:
    """How long a request of a line takes; by its tokens where it says nothing else."""
    if duration is not None:
        return duration_us(line[duration])
    if rates is None or tokens[1] is None:
        return UNKNOWN
    counts = [0.0 if place is None else float(line[place] or 0) for place in tokens]
    return duration_us(str(sum(count / rate for count, rate in zip(counts, rates, strict=True))))


def _minutes(
    head: Sequence[str],
    minutes: Sequence[tuple[int, int]],
    lines: Iterator[list[str]],
    reading: Reading,
) -> Streams:
    last = max(number for _, number in minutes)
    days = last * MINUTE_US / _DAY_US
    whose = column_of(head, WHOSE if reading.by is None else (reading.by.lower(),))
    dice = random.Random(reading.seed)  # noqa: S311 (a spread, not a secret)
    execute = round(reading.execute_seconds * 1e6)
    found = Streams(0, last * MINUTE_US, [])
    for count, line in enumerate(lines):
        if not line:
            continue
        counts = counts_of(line, minutes)
        calls = sum(number for _, number in counts)
        if calls < 1 or not reading.least_per_day <= calls / days <= reading.most_per_day:
            continue
        stream = Stream(f"{count + 1}" if whose is None else line[whose])
        for minute, calls in counts:
            begin = minute * MINUTE_US
            stream.at_us.extend(
                begin + at for at in sorted(dice.randrange(MINUTE_US) for _ in range(calls))
            )
        stream.execute_us = array("q", [execute]) * len(stream.at_us)
        found.streams.append(stream)
    found.notes.append(
        "Requests are spread over each minute at random, by the seed, and take "
        f"{reading.execute_seconds:g} s each: the trace says neither."
    )
    return _kept(found, reading)


def _kept(streams: Streams, reading: Reading) -> Streams:
    """Without those that are asked too seldom, or too often."""
    days = (streams.end_at_us - streams.start_at_us) / _DAY_US
    kept = [
        stream
        for stream in streams.streams
        if reading.least_per_day <= len(stream.at_us) / days <= reading.most_per_day
    ]
    if not kept:
        raise BadQuery("calls_per_day", "--calls-per-day leaves no stream of this trace.")
    streams.streams = kept
    return streams
