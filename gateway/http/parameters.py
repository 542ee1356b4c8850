"""What can be asked in the URL of a report: one table for parsers and for the API's document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from gateway.http.errors import HttpError
from gateway.ledger.errors import BadQuery
from gateway.ledger.reports.query import (
    BUCKET_WIDTHS,
    DIMENSIONS,
    DURATION,
    MOST_ROWS,
    SPLITS,
    TAG,
    VALUES,
)
from gateway.ledger.reports.row_filters import (
    BIN,
    CHOICES,
    MOST_DAYS,
    OF_CHARGES,
    OF_OPERATIONS,
    TEXT_PATTERN,
)

DEFAULT_LIMIT = 100
DEFAULT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Parameter:
    """One name in a URL. ``schema`` is that of one value; ``repeats``: it may stand there again."""

    name: str
    meaning: str
    schema: Mapping[str, Any]
    repeats: bool = False
    required: bool = False


TEXT: Mapping[str, Any] = {"type": "string"}
_TIME = {"type": "string", "format": "date-time", "examples": ["2026-11-01T00:00:00Z"]}


def _one_of(*choices: str) -> Mapping[str, Any]:
    return {"type": "string", "enum": list(choices)}


TAGS = Parameter(
    "tags",
    "``tag:<name>=<value>``: only what has this tag. A name that is not in ledger.rollup_tags has "
    "every attempt of the range read, and is refused where those are too many.",
    {
        "type": "object",
        "patternProperties": {f"^{TAG.pattern}$": TEXT},
        "additionalProperties": False,
        "examples": [{"tag:team": "search"}],
    },
)
"""The one parameter whose name is the caller's own; it stands in URLs as ``tag:team=search``."""

RANGE = (
    Parameter(
        "start_time",
        f"Begin of the range, RFC 3339, UTC where it names no zone. Default: {DEFAULT_DAYS} days "
        "before its end.",
        _TIME,
    ),
    Parameter("end_time", "End of the range, which is not part of it. Default: now.", _TIME),
)
PAGE = (
    Parameter(
        "limit",
        "Most rows of a page.",
        {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": DEFAULT_LIMIT},
    ),
    Parameter("cursor", "Where to go on: the last page's next_cursor.", TEXT),
)
_ZONE = Parameter(
    "time_zone",
    "Where hours and days begin, by its IANA name.",
    {"type": "string", "default": "UTC", "examples": ["Europe/Berlin"]},
)
_DIMENSION = {
    "anyOf": [
        {"type": "string", "enum": list(DIMENSIONS)},
        {"type": "string", "pattern": f"^{TAG.pattern}$"},
    ]
}
WITHOUT = Parameter(
    "without", "Only what has no such thing: no key, say.", _DIMENSION, repeats=True
)
GROUPING = (
    Parameter(
        "bucket_width",
        "Length of a bucket of time, an hour or a day by the clocks of time_zone, or all in one.",
        {"type": "string", "enum": list(BUCKET_WIDTHS), "default": "all"},
    ),
    _ZONE,
    Parameter("group_by", "What rows are told apart by.", _DIMENSION, repeats=True),
)
_MEANINGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "provider": ("Only of this provider.", TEXT),
    "deployment": ("Only of this deployment.", TEXT),
    "model": ("Only what asked for this model.", TEXT),
    "key": ("Only what this key has asked for.", TEXT),
    "verdict": ("Only with this verdict.", _one_of(*VALUES["verdict"])),
    "evidence": ("Only verdicts that rest on this.", _one_of(*VALUES["evidence"])),
    "status": (
        "Only with this status; ended: with any but running.",
        _one_of(*VALUES["status"]),
    ),
    "origin": ("Only attempts that came in so.", _one_of(*VALUES["origin"])),
}
FILTERS = tuple(Parameter(name, *_MEANINGS[name], repeats=True) for name in DIMENSIONS)
"""A filter that stands there more than once holds where any of its values does."""

_OF_ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "cost_status": ("Only where the cost is so well known.", _one_of(*CHOICES["cost_status"])),
    "caused_boot": (
        "Only with an attempt that caused a boot, or did not.",
        _one_of(*CHOICES["caused_boot"]),
    ),
    "line": (
        "Only with a cost line of this kind.",
        {"type": "string", "pattern": f"^{TEXT_PATTERN.pattern}$", "examples": ["boot_seconds"]},
    ),
    "sample": (
        "Only those that the percentiles of boots or of waits are of.",
        _one_of(*CHOICES["sample"]),
    ),
    "boot_seconds": (
        "Only boots of more than the one and up to the other, in seconds; open: 1000..",
        {"type": "string", "pattern": f"^{BIN.pattern}$", "examples": ["2..3", "1000.."]},
    ),
    "hour": (
        f"Only what came in at this hour of the day; the range has {MOST_DAYS} days at most.",
        _one_of(*CHOICES["hour"]),
    ),
    "kind": ("Only charges of this kind.", _one_of(*CHOICES["kind"])),
    "stay": (
        "Only keep-warm charges whose stay came to this; open: that is not known yet.",
        _one_of(*CHOICES["stay"]),
    ),
    "rule": (
        "Only charges that are allocated by this rule.",
        {"type": "string", "pattern": f"^{TEXT_PATTERN.pattern}$", "examples": ["unallocated"]},
    ),
}


def _of_rows(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, *_OF_ROWS[name], repeats=True) for name in names)


OPERATIONS = (*RANGE, _ZONE, *PAGE, WITHOUT, *_of_rows(*OF_OPERATIONS))
CHARGES = (*RANGE, *PAGE, WITHOUT, *_of_rows(*OF_CHARGES))
COSTS = (*RANGE, *GROUPING, *PAGE, WITHOUT)
COLD_STARTS = (
    *COSTS,
    Parameter(
        "by",
        "What cold starts are split by as well: hour of the day, or how long nothing ran before.",
        {"type": "string", "enum": list(SPLITS)},
        repeats=True,
    ),
    Parameter(
        "against",
        "Explain what the cold rate is more or less than in so long a time before; the range is "
        "then as long, unless it is given.",
        {"type": "string", "pattern": f"^{DURATION.pattern}$", "examples": ["7d", "12h", "30m"]},
    ),
)
WARMTH = (Parameter("deployment", "Only these deployments.", TEXT, repeats=True),)


def once(params: QueryParams, takes: Iterable[Parameter]) -> None:
    """Raises BadQuery naming a parameter that stands there twice and must not."""
    for known in takes:
        if not known.repeats and len(params.getlist(known.name)) > 1:
            raise BadQuery(known.name, f"{known.name} is named twice.")


def only(params: QueryParams, takes: Iterable[Parameter] = ()) -> None:
    """Raises HttpError naming what a route without filters does not take."""
    known = {one.name for one in takes}
    for name in params:
        if name not in known:
            takes_what = f"takes {', '.join(known)}" if known else "takes no parameters"
            message = f"This route {takes_what}; not {name!r}."
            raise HttpError(400, "invalid_value", message, param=name)
