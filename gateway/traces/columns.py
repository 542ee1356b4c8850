"""Which column of a trace is what, by its name: in any case, with or without separators and units.

A name may end in its unit: ``duration_ms``, ``Timestamp (us)``, ``latencyNs``. What is found by no
name can be said: ``instant=COLUMN``, ``duration=COLUMN:ms``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from gateway.ledger.errors import BadQuery
from gateway.traces.files import Sheet

What: TypeAlias = Literal[
    "instant", "end", "duration", "input_tokens", "output_tokens", "images", "whose"
]
NAMES: Final[dict[What, tuple[str, ...]]] = {
    "instant": (
        *("timestamp", "ts", "time", "datetime", "at", "instant"),
        *("arrival", "arrivaltime", "arrivaltimestamp", "arrivedat", "invocationtime"),
        *("requesttime", "requesttimestamp", "requestedat", "receivedat", "timefrontend"),
        *("submittime", "submittedat", "createtime", "createdat", "creationtime", "gmtcreate"),
        *("starttime", "starttimestamp", "startedat", "start", "begintime", "begin"),
        *("epoch", "unixtime", "unixtimestamp", "eventtime", "timeworker"),
    ),
    "end": (
        *("endtimestamp", "endtime", "endedat", "end", "finishtime", "finishedat"),
        *("completedat", "stoptime", "deletiontime"),
    ),
    "duration": (
        *("duration", "execute", "exectime", "executiontime", "executionduration", "seconds"),
        *("elapsedtime", "elapsed", "servicetime", "processingtime", "inferencetime"),
        *("predicttime", "latency", "e2elatency", "responsetime"),
        *("totalcostworker", "totalcostfrontend", "runtime"),
    ),
    "input_tokens": (
        *("contexttokens", "inputtokens", "prompttokens", "requesttokens", "numinputtokens"),
        *("numprefilltokens", "inputlength", "inputlen", "promptlen"),
    ),
    "output_tokens": (
        *("generatedtokens", "outputtokens", "completiontokens", "responsetokens"),
        *("numoutputtokens", "numdecodetokens", "outputlength", "outputlen"),
    ),
    "images": ("images", "numimages", "numimagesperprompt"),
    "whose": (
        *("deployment", "deploymentname", "deploymentid", "model", "basemodel", "modelname"),
        *("modelid", "modelversion", "function", "hashfunction", "functionname", "functionid"),
        *("funcname", "funcid", "func", "service", "servicename", "endpoint", "endpointname"),
        *("endpointid", "stream", "app", "appname", "application", "hashapp", "workload"),
    ),
}
"""Names of columns without separators, the better ones first."""
COUNTS: Final = frozenset(
    ("count", "counts", "calls", "invocations", "requests", "numrequests", "requestcount", "qps")
)
"""Where a column is called so, a line stands for several requests."""
UNITS: Final = {
    **dict.fromkeys(("h", "hour", "hours"), 3.6e9),
    **dict.fromkeys(("min", "minute", "minutes"), 6e7),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1e6),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), 1e3),
    **dict.fromkeys(("us", "usec", "micros", "microsecond", "microseconds"), 1.0),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanosecond", "nanoseconds"), 1e-3),
}
"""In microseconds."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``unit_us``: microseconds of one of its units, where that was said."""

    place: int
    name: str
    unit_us: float | None = None
    said: bool = False
    """Whether somebody has said which it is; else its name has."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a trace of requests, as far as there are any."""

    instant: Column | None
    end: Column | None
    duration: Column | None
    input_tokens: Column | None
    output_tokens: Column | None
    images: Column | None
    whose: tuple[Column, ...]

    @property
    def read(self) -> tuple[Column | None, ...]:
        """Those that a request is read from."""
        return (
            *(self.instant, self.end, self.duration),
            *(self.input_tokens, self.output_tokens, self.images),
        )

    @property
    def namer(self) -> Callable[[Sequence[str]], str]:
        """Says whose a line is; "trace" where no column says it."""
        places = [column.place for column in self.whose]
        if not places:
            return lambda row: "trace"
        if len(places) == 1:
            (place,) = places
            return lambda row: row[place].strip() or "unnamed"
        return lambda row: "/".join(row[place].strip() for place in places)


def words_of(name: str) -> list[str]:
    """A name's words, in lower case."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^a-z0-9]+", parted.lower()) if word]


def columns_of(sheet: Sheet, by: str | None = None, said: Sequence[str] = ()) -> Columns:
    """Which column is what. ``by``: whose, commas between several; ``said``: WHAT=COLUMN, each.

    Raises BadQuery.
    """
    given = _said(sheet, said)
    found = {what: given.get(what) or _named(sheet.head, names) for what, names in NAMES.items()}
    if by is not None:
        whose = tuple(column_called(sheet, name, "--by") for name in by.split(","))
    elif "whose" in given:
        whose = (given["whose"],)
    else:
        whose = _whose(sheet.head)
    del found["whose"]
    return Columns(**found, whose=whose)


def column_called(sheet: Sheet, name: str, option: str) -> Column:
    """The column that somebody has named. Raises BadQuery."""
    name = name.strip()
    for same in (str, str.lower, lambda text: "".join(words_of(text)) or text):
        for place, head in enumerate(sheet.head):
            if same(head) == same(name):
                return Column(place, head)
    there = ", ".join(sheet.head[:12]) + (", ..." if len(sheet.head) > 12 else "")
    raise BadQuery("trace", f"{option}: {sheet.path} has no column {name!r}, but {there}.")


def whose_counts(sheet: Sheet, columns: Columns, minutes: range) -> Columns:
    """The same; if there is one column beside the minutes, it says whose a line is."""
    beside = [place for place in range(len(sheet.head)) if place not in minutes]
    if columns.whose or len(beside) != 1:
        return columns
    return replace(columns, whose=(Column(beside[0], sheet.head[beside[0]]),))


def keep_where(sheet: Sheet, where: Mapping[str, str]) -> None:
    """Only lines with these values in these columns: one model's, say. Raises BadQuery."""
    sheet.where = [
        (column_called(sheet, name, "--trace-where").place, value) for name, value in where.items()
    ]


def _said(sheet: Sheet, said: Sequence[str]) -> dict[What, Column]:
    found: dict[What, Column] = {}
    for text in said:
        word, _, name = text.partition("=")
        what = next((what for what in NAMES if what == word), None)
        if what is None or not name:
            raise BadQuery(
                "column",
                f"--column is WHAT=COLUMN, WHAT one of {', '.join(NAMES)}; not {text!r}.",
            )
        bare, _, unit = name.rpartition(":")
        if bare and unit in UNITS and name not in sheet.head:
            column = column_called(sheet, bare, "--column")
            unit_us: float | None = UNITS[unit]
        else:
            column = column_called(sheet, name, "--column")
            unit_us = _unit(words_of(column.name))
        found[what] = Column(column.place, column.name, unit_us, said=True)
    return found


def _named(head: Sequence[str], names: Sequence[str]) -> Column | None:
    """The column with the best of these names, whatever unit it ends in."""
    keys: dict[str, Column] = {}
    for place, name in enumerate(head):
        words = words_of(name)
        if len(words) > 1 and words[-1] in ("utc", "gmt"):
            words.pop()
        keys.setdefault("".join(words), Column(place, name))
        unit = _unit(words)
        if unit is not None:
            keys.setdefault("".join(words[:-1]), Column(place, name, unit))
    for name in names:
        for short in ("", "ms", "us", "ns"):  # durationms, without anything between
            column = keys.get(name + short)
            if column is not None:
                return Column(column.place, column.name, UNITS[short]) if short else column
    return None


def _unit(words: Sequence[str]) -> float | None:
    return UNITS.get(words[-1]) if len(words) > 1 else None


def _whose(head: Sequence[str]) -> tuple[Column, ...]:
    found = _named(head, NAMES["whose"])
    if found is None:
        models = (
            Column(place, name) for place, name in enumerate(head) if "model" in words_of(name)
        )
        found = next(models, None)
    if found is None:
        return ()
    if "".join(words_of(found.name)).startswith("func"):  # its name may be unique in its app alone
        app = _named(head, ("app", "appname", "appid", "application"))
        if app is not None:
            return app, found
    return (found,)
