"""Journal lines as values: the one place that knows their spelling besides ``rows``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson

from gateway.ledger.rows import JOURNAL_VERSION, AttemptRow, ChargeRow, OpenCharge

ATTEMPT_COLUMNS = tuple(column.name for column in fields(AttemptRow))
CHARGE_COLUMNS = tuple(column.name for column in fields(ChargeRow))
_OPEN_COLUMNS = tuple(column.name for column in fields(OpenCharge))
CORRECTABLE = frozenset(ATTEMPT_COLUMNS) - {"attempt_id", "operation_id", "ordinal", "origin"}

_BEGIN = re.compile(rb'\{"v":1,"seq":\d+,"kind":"begin","attempt":\{"attempt_id":"([^"\\]+)",')
_OF_ATTEMPT = re.compile(
    rb'\{"v":1,"seq":\d+,"kind":"(begin|end)","attempt":\{"attempt_id":"([^"\\]+)",'
)
_ATTEMPT_KEYS = frozenset(ATTEMPT_COLUMNS)
_CHARGE_KEYS = frozenset(CHARGE_COLUMNS)
_NEEDED = {  # kind -> the keys it cannot do without
    "begin": ("attempt",),
    "accepted": ("attempt_id", "upstream_id", "at_us"),
    "end": ("attempt",),
    "correct": ("attempt_id", "at_us", "reason", "set"),
    "charge": ("charge",),
}


class BrokenLine(ValueError):
    """A journal line that cannot be read."""


def line(seq: int, body: bytes) -> bytes:
    """A whole journal line around a body (the quoted kind and what follows it)."""
    return b'{"v":%d,"seq":%d,"kind":%b}\n' % (JOURNAL_VERSION, seq, body)


def begin_body(row: AttemptRow) -> bytes:
    """Body of a ``begin`` line."""
    return b'"begin","attempt":' + orjson.dumps(row)


def end_body(row: AttemptRow) -> bytes:
    """Body of an ``end`` line."""
    return b'"end","attempt":' + orjson.dumps(row)


def charge_body(row: ChargeRow) -> bytes:
    """Body of a ``charge`` line."""
    return b'"charge","charge":' + orjson.dumps(row)


def open_body(row: OpenCharge) -> bytes:
    """Body of an ``open`` line."""
    return b'"open","open":' + orjson.dumps(row)


def accepted_body(attempt_id: str, upstream_id: str, at_us: int) -> bytes:
    """Body of an ``accepted`` line."""
    said = {"attempt_id": attempt_id, "upstream_id": upstream_id, "at_us": at_us}
    return b'"accepted",' + orjson.dumps(said)[1:-1]


def correct_body(attempt_id: str, at_us: int, reason: str, set_: Mapping[str, Any]) -> bytes:
    """Body of a ``correct`` line."""
    said = {"attempt_id": attempt_id, "at_us": at_us, "reason": reason, "set": dict(set_)}
    return b'"correct",' + orjson.dumps(said)[1:-1]


def decode(raw: bytes) -> dict[str, Any]:
    """One line as a dict whose ``attempt`` or ``charge`` has exactly the known columns, and whose
    ``open`` is a row.

    Columns of a newer release are left out, missing ones get their defaults. Raises BrokenLine.
    """
    try:
        said = orjson.loads(raw)
        if said["v"] != JOURNAL_VERSION:
            raise BrokenLine(f"version {said['v']} is not {JOURNAL_VERSION}")
        if type(said["seq"]) is not int:
            raise BrokenLine("seq is not a number")
        kind = said["kind"]
        if kind == "begin" or kind == "end":
            attempt = said["attempt"]
            _needs_id(attempt["attempt_id"])
            if attempt.keys() != _ATTEMPT_KEYS:
                said["attempt"] = _row_dict(AttemptRow, _ATTEMPT_KEYS, attempt)
        elif kind == "charge":
            _needs_id(said["charge"]["charge_id"])
            said["charge"] = _row_dict(ChargeRow, _CHARGE_KEYS, said["charge"])
        elif kind == "open":
            given = said["open"]
            said["open"] = OpenCharge(**{key: given[key] for key in _OPEN_COLUMNS if key in given})
        elif any(key not in said for key in _NEEDED[kind]):
            raise BrokenLine(f"a {kind} line lacks one of {', '.join(_NEEDED[kind])}")
        elif kind == "correct" and not said["set"].keys() <= CORRECTABLE:
            raise BrokenLine("a correct line names a column that cannot be corrected")
        else:
            _needs_id(said["attempt_id"])
    except BrokenLine:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenLine(f"{type(error).__name__}: {error}") from error
    return said  # type: ignore[no-any-return]


def decode_batch(raw_lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], list[BrokenLine]]:
    """Decoded lines in order, and what was wrong with the others.

    A ``begin`` whose ``end`` stands in the same batch is left out unread: the end repeats it, and
    parsing is the dearest step of shipping.
    """
    lines: list[dict[str, Any]] = []
    broken: list[BrokenLine] = []
    ended: set[bytes] = set()
    for raw in reversed(raw_lines):
        begin = _BEGIN.match(raw)
        if begin is not None and begin[1] in ended:
            continue
        try:
            said = decode(raw)
        except BrokenLine as error:
            broken.append(error)
            continue
        if said["kind"] == "end":
            ended.add(said["attempt"]["attempt_id"].encode())
        lines.append(said)
    lines.reverse()
    return lines, broken


def begin_or_end(raw: bytes) -> tuple[str, str] | None:
    """Kind and attempt of a ``begin`` or ``end`` line, mostly without parsing it; None: no such
    line.
    """
    found = _OF_ATTEMPT.match(raw)
    if found is not None:
        return found[1].decode(), found[2].decode()
    try:
        said = decode(raw)
    except BrokenLine:
        return None
    return (said["kind"], said["attempt"]["attempt_id"]) if "attempt" in said else None


def is_of_kind(raw: bytes, kind: bytes) -> bool:
    """Whether a line is of this kind, without parsing it."""
    return b'"kind":"' + kind + b'"' in raw[:64]


def attempt_row(columns: Mapping[str, Any]) -> AttemptRow:
    """The row of a decoded line or a database row; keys that are no columns are left out."""
    return AttemptRow(**{key: columns[key] for key in ATTEMPT_COLUMNS if key in columns})


def _needs_id(value: object) -> None:
    if type(value) is not str:
        raise BrokenLine("an id is not a string")


def _row_dict(
    shape: type[AttemptRow] | type[ChargeRow], keys: frozenset[str], given: Mapping[str, Any]
) -> dict[str, Any]:
    known = {key: value for key, value in given.items() if key in keys}
    row = shape(**known)
    return {key: getattr(row, key) for key in keys}
