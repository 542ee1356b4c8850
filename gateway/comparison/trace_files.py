"""Traffic from a file, all of it as one stream; and made-up traffic.

The files are those of ``gateway.traces``. Of counts by minute all lines are summed, and the
requests of a minute are spread over it at random, by a fixed seed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.ledger.errors import BadQuery
from gateway.traces.columns import Columns, columns_of, keep_where
from gateway.traces.counts import MINUTE_US, counts_of, numbered
from gateway.traces.files import Sheet, opened
from gateway.traces.instants import tokens
from gateway.traces.requests import Requests
from gateway.warmth.arrivals import UNKNOWN, Arrivals, Stretch, Traffic, sampled


def read_trace(
    path: Path,
    most_rows: int,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    where: Mapping[str, str] | None = None,
    columns: Sequence[str] = (),
) -> Traffic:
    """The traffic of a trace; tokens that it does not say are those given. Raises BadQuery.

    ``where`` keeps lines with these values in these columns: one model's stream, say. ``columns``:
    WHAT=COLUMN, for those that are not known by their names.
    """
    unsaid = (
        UNKNOWN if input_tokens is None else input_tokens,
        UNKNOWN if output_tokens is None else output_tokens,
    )
    with opened(path) as sheet:
        found = columns_of(sheet, None, columns)
        keep_where(sheet, where or {})
        minutes = numbered(sheet.head)
        if minutes and found.instant is None:
            return _minutes(sheet, minutes, most_rows, unsaid)
        return _requests(sheet, found, most_rows, unsaid)


def _requests(sheet: Sheet, columns: Columns, most_rows: int, unsaid: tuple[int, int]) -> Traffic:
    requests, arrivals = Requests(sheet, columns), Arrivals()
    given, made, images = columns.input_tokens, columns.output_tokens, columns.images
    for row, at_us, execute_us in requests:
        try:
            arrivals.add(
                at_us,
                execute_us=execute_us,
                input_tokens=unsaid[0] if given is None else tokens(row[given.place]),
                output_tokens=unsaid[1] if made is None else tokens(row[made.place]),
                images=UNKNOWN if images is None else tokens(row[images.place]),
            )
        except (ValueError, OverflowError):
            raise sheet.refusal("its tokens or images are no counts") from None
    if not len(arrivals):
        raise BadQuery("trace", f"--trace: there is no request in {sheet.path}.")
    arrivals.sort()
    start, end = arrivals.at_us[0], arrivals.at_us[-1] + 1
    stretches, count = sampled(arrivals, start, end, most_rows)
    found = Traffic("trace", start, end, stretches, count, sources=["trace"])
    found.notes.append(requests.how)
    return found


def _minutes(sheet: Sheet, minutes: range, most_rows: int, unsaid: tuple[int, int]) -> Traffic:
    last = len(minutes)
    counts = [0] * last
    functions = 0
    for row in sheet:
        functions += 1
        for minute, count in counts_of(sheet, row, minutes):
            counts[minute] += count
    total = sum(counts)
    if not total:
        raise BadQuery("trace", f"--trace: there is no request in {sheet.path}.")
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
