"""Traffic from a file: public traces, or your own.

Three shapes of CSV, told by their heads, which are read in whichever case:

* a line for each request, with an instant (``timestamp``, ``time`` or ``at``: seconds, or a date
  and time) and any of ``duration`` (seconds), ``ContextTokens`` or ``input_tokens``,
  ``GeneratedTokens`` or ``output_tokens``; the Azure LLM traces are of this kind;
* a line for each function with its requests in each minute, in columns ``1`` to ``1440`` or
  ``minute_1`` ...; the Azure Functions traces are. All lines are summed, and the requests of a
  minute are spread over it at random, by a fixed seed.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from gateway.ledger.errors import BadQuery
from gateway.warmth.arrivals import UNKNOWN, Arrivals, Stretch, Traffic, sampled

Row = TypeVar("Row")

INSTANT = (
    "timestamp",
    "time",
    "at",
    "arrival_time",
    "start_time",
    "start_timestamp",
    "gmt_create",
)
DURATION = ("duration", "duration_seconds", "execute_seconds", "exec_time_seconds", "seconds")
INPUT_TOKENS = ("contexttokens", "input_tokens", "prompt_tokens", "input_length")
OUTPUT_TOKENS = ("generatedtokens", "output_tokens", "completion_tokens", "output_length")
_IMAGES = ("images", "num_images_per_prompt")
_MINUTE = re.compile(r"(?:minute_)?([0-9]{1,9})")
MINUTE_US = 60_000_000
_MOST_US = 253_402_300_800_000_000  # year 10000
_MOST_MINUTES = 1_000_000
_MOST_TOKENS = 10**9


def read_trace(
    path: Path,
    most_rows: int,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    where: Mapping[str, str] | None = None,
) -> Traffic:
    """The traffic of a trace; tokens that it does not say are those given. Raises BadQuery.

    ``where`` keeps lines with these values in these columns: one model's stream, say.
    """
    unsaid = (
        UNKNOWN if input_tokens is None else input_tokens,
        UNKNOWN if output_tokens is None else output_tokens,
    )
    with opened(path) as (head, lines):
        for name in where or {}:
            if name.lower() not in head:
                raise BadQuery("trace", f"--trace-where: there is no column {name!r}.")
        wanted = [(head.index(n.lower()), value) for n, value in (where or {}).items()]
        if wanted:
            lines = (
                line
                for line in lines
                if all(line[place : place + 1] == [value] for place, value in wanted)
            )
        if column_of(head, INSTANT) is not None:
            return _requests(head, lines, most_rows, unsaid)
        return _minutes(minutes_of(head, path), lines, most_rows, unsaid)


@contextmanager
def opened(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """A trace's head, in lower case, and its lines. Raises BadQuery, also while they are read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines: Iterator[list[str]] = csv.reader(file)
            yield [name.strip().lower() for name in next(lines, [])], lines
    except OSError as error:
        raise BadQuery("trace", f"--trace: {path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise BadQuery("trace", f"--trace: {path} is not UTF-8 text.") from error
    except csv.Error as error:
        raise BadQuery("trace", f"--trace: {path} is not CSV ({error}).") from error


def minutes_of(head: Sequence[str], path: Path) -> list[tuple[int, int]]:
    """Places of the columns of minutes, each with its minute, from 1. Raises BadQuery: none is."""
    minutes = [
        (place, int(found[1]))
        for place, name in enumerate(head)
        if (found := _MINUTE.fullmatch(name)) is not None and 1 <= int(found[1]) <= _MOST_MINUTES
    ]
    if not minutes:
        raise BadQuery("trace", f"--trace: {path} has no column of instants and none of minutes.")
    return minutes


def rows_of(lines: Iterator[list[str]], read: Callable[[list[str]], Row]) -> list[Row]:
    """What is read of each line that is not empty. Raises BadQuery that shows the line."""
    rows = []
    for line in lines:
        if not line:
            continue
        try:
            rows.append(read(line))
        except (ValueError, IndexError, OverflowError) as error:
            raise BadQuery(
                "trace", f"--trace: a line cannot be understood: {','.join(line)[:80]!r}."
            ) from error
    return rows


def counts_of(line: Sequence[str], minutes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The minutes of a line that are not empty, from 0, and their requests. Raises BadQuery."""
    try:
        return [
            (number - 1, int(float(line[place])))
            for place, number in minutes
            if line[place] not in ("0", "")
        ]
    except (ValueError, IndexError, OverflowError) as error:
        raise BadQuery(
            "trace", f"--trace: a line of counts cannot be understood: {line[0][:40]!r}."
        ) from error


def _requests(
    head: Sequence[str],
    lines: Iterator[list[str]],
    most_rows: int,
    unsaid: tuple[int, int],
) -> Traffic:
    instant = column_of(head, INSTANT)
    assert instant is not None
    duration, given, made, images = (
        column_of(head, names) for names in (DURATION, INPUT_TOKENS, OUTPUT_TOKENS, _IMAGES)
    )

    def read(line: list[str]) -> tuple[int, int, int, int, int]:
        return (
            instant_us(line[instant]),
            UNKNOWN if duration is None else duration_us(line[duration]),
            unsaid[0] if given is None else _tokens(line[given]),
            unsaid[1] if made is None else _tokens(line[made]),
            UNKNOWN if images is None else _tokens(line[images]),
        )

    rows = rows_of(lines, read)
    rows.sort()
    arrivals = Arrivals()
    for at, execute, given_tokens, made_tokens, made_images in rows:
        arrivals.add(
            at,
            execute_us=execute,
            input_tokens=given_tokens,
            output_tokens=made_tokens,
            images=made_images,
        )
    if not rows:
        raise BadQuery("trace", "--trace: there is no request in it.")
    start, end = rows[0][0], rows[-1][0] + 1
    stretches, count = sampled(arrivals, start, end, most_rows)
    return Traffic("trace", start, end, stretches, count, sources=["trace"])


def _minutes(
    minutes: Sequence[tuple[int, int]],
    lines: Iterator[list[str]],
    most_rows: int,
    unsaid: tuple[int, int],
) -> Traffic:
    last = max(number for _, number in minutes)
    counts = [0] * last
    functions = 0
    for line in lines:
        if not line:
            continue
        functions += 1
        for minute, count in counts_of(line, minutes):
            counts[minute] += count
    total = sum(counts)
    if not total or min(counts) < 0:
        raise BadQuery("trace", "--trace: there is no request in it.")
    dice = random.Random(1)  # noqa: S311 (a spread, not a secret)
    keep: Sequence[int] = range(last)
    if total > most_rows:
        # Whole minutes, one from each equal part of the time: each hour of the day has its share.
        fit = max(1, most_rows * last // total)
        keep = [dice.randrange(last * n // fit, last * (n + 1) // fit) for n in range(fit)]
    found = Traffic("trace", 0, last * MINUTE_US, [], 1, sources=["trace"])
    found.notes.append(
        f"{functions:,} functions summed; requests are spread over each minute at random."
    )
    whole = total <= most_rows
    arrivals = Arrivals()
    for minute in keep:
        begin = minute * MINUTE_US
        rows = arrivals if whole else Arrivals()
        for at in sorted(dice.randrange(MINUTE_US) for _ in range(counts[minute])):
            rows.add(begin + at, input_tokens=unsaid[0], output_tokens=unsaid[1])
        if not whole:
            before = None
            if minute and counts[minute - 1]:
                before = (begin - MINUTE_US // (counts[minute - 1] + 1), 0)
            found.stretches.append(Stretch(begin, begin + MINUTE_US, rows, before))
    if whole:
        found.stretches.append(Stretch(0, last * MINUTE_US, arrivals))
    else:
        found.stretches_in_range = last
    return found


def what_if(
    requests_per_day: float,
    input_tokens: int,
    output_tokens: int,
    most_rows: int,
    days: int = 30,
) -> Traffic:
    """Made-up traffic: so many a day, each independent of the others (a Poisson stream)."""
    dice = random.Random(1)  # noqa: S311 (traffic, not a secret)
    day_us = 86_400_000_000
    lasting_us = round(min(days, most_rows / requests_per_day) * day_us)
    rate = requests_per_day / day_us
    parts = 1 if lasting_us == days * day_us else 50
    found = Traffic("what_if", 0, days * day_us, [], 1)
    found.notes.append(
        "Made up: requests come independently of each other. Real ones come in bursts, with "
        "longer gaps between, and so find a replica cold more often."
    )
    length = lasting_us // parts
    found.stretches_in_range = 1 if parts == 1 else max(parts, days * day_us // length)
    at = dice.expovariate(rate)
    last: int | None = None
    for number in range(parts):
        rows = Arrivals()
        begin, end = number * length, (number + 1) * length
        before = None if last is None else (last, 0)
        while at < end:
            last = int(at)
            rows.add(last, input_tokens=input_tokens, output_tokens=output_tokens)
            at += dice.expovariate(rate)
        found.stretches.append(Stretch(begin, end, rows, before))
    return found


def column_of(head: Sequence[str], names: Sequence[str]) -> int | None:
    """Where the first of these columns stands."""
    return next((head.index(name) for name in names if name in head), None)


def instant_us(text: str) -> int:
    """Seconds, or a date and time, in microseconds. Raises ValueError."""
    try:
        seconds = float(text)
        at = round(seconds * 1e6)
    except ValueError:
        # Seven digits of a second, as Azure writes, are one more than a date takes.
        short = re.sub(r"(\.\d{6})\d+", r"\1", text.strip())
        moment = datetime.fromisoformat(short)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        at = round(moment.timestamp() * 1_000_000)
    if not 0 <= at < _MOST_US:
        raise ValueError(text)
    return at


def duration_us(text: str) -> int:
    """Seconds in microseconds; empty: not known. Raises ValueError."""
    if not text:
        return UNKNOWN
    microseconds = round(float(text) * 1e6)
    if not 0 <= microseconds < 10**15:
        raise ValueError(text)
    return microseconds


def _tokens(text: str) -> int:
    if not text:
        return UNKNOWN
    tokens = int(float(text))
    if not 0 <= tokens <= _MOST_TOKENS:
        raise ValueError(text)
    return tokens
