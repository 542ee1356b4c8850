"""A provider's bill as lines: CSV or JSON, by the columns that are known or that were named.

A bill is read as it stands: amounts are exact decimals, and half of the last digit that a line
shows is how far it can be off.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from gateway.settings import ConfigError

OURS: Mapping[str, str] = {
    "cost_usd": "the amount; $ and thousands commas are read over",
    "job_id": "the provider's id of the job",
    "start_time": "RFC 3339, when the billed thing was, or its interval began; no zone: UTC",
    "end_time": "when the interval ended",
    "model": "what was used: a model, an app, a deployment",
    "sku": "on what: a GPU, a resource, tokens in or out",
    "quantity": "how much of it",
    "unit_price_usd": "the price of one",
    "kind": "usage, tax, credit ...; what is not usage is no traffic",
    "currency": "must be USD",
}


@dataclass(frozen=True, slots=True)
class Format:
    """The columns of one kind of file, and where that stands. ``usage_only``: no line of it is a
    tax or a credit, whatever an app is called.
    """

    columns: Mapping[str, str]
    source: str
    usage_only: bool = False


_GENERIC = Format({name: name for name in OURS}, "gateway/reconciliation/README.md")
FORMATS: Mapping[str, tuple[Format, ...]] = {
    "modal": (
        Format(
            {
                "Description": "model",
                "Interval Start": "start_time",
                "Resource": "sku",
                "Cost": "cost_usd",
                "Object ID": "",
                "Environment": "",
                "Tags": "",
            },
            "`modal billing report --csv`, modal 1.6.4, cli/billing.py (read 2026-11-26)",
            usage_only=True,
        ),
        Format(
            {
                "description": "model",
                "interval_start": "start_time",
                "resource": "sku",
                "cost": "cost_usd",
                "object_id": "",
                "environment": "",
                "tags": "",
            },
            "`modal billing report --json`, the same",
            usage_only=True,
        ),
    ),
    # Disks and fees are no seconds of a GPU, which is what a job is priced by.
    "runpod": (
        Format(
            {
                "startTime": "start_time",
                "endTime": "end_time",
                "serverlessId": "model",
                "gpuAmount": "cost_usd",
                "totalAmount": "",
                "cpuAmount": "",
                "diskAmount": "",
                "feeAmount": "",
            },
            "GET /v2/billing/serverless, https://docs.runpod.io/api-reference-v2/openapi.json "
            "(2.0.0, as recorded 2026-08-20, read 2026-11-26)",
        ),
    ),
}
UNKNOWN: Mapping[str, str] = {
    "replicate": "Replicate's invoices are PDF files, and no export of usage is documented "
    "(https://replicate.com/docs/topics/billing, read 2026-11-23)",
    "huggingface": "Hugging Face shows usage by model and provider on a page, and no export of it "
    "is documented (https://huggingface.co/docs/inference-providers/pricing, read 2026-11-26)",
}
_NO_TRAFFIC = re.compile(r"tax|vat|gst|credit|discount|refund|adjust|rebate", re.IGNORECASE)
_AMOUNT = re.compile(r"^(-?)\$?(-?[\d,]*\.?\d+(?:[eE][+-]?\d+)?)$")


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line. ``off_by_usd``: half of its last digit. ``traffic`` is false for taxes, credits."""

    usd: Decimal
    off_by_usd: Decimal
    job_id: str | None = None
    model: str | None = None
    sku: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    quantity: Decimal | None = None
    unit_price_usd: Decimal | None = None
    traffic: bool = True


def read_bill(path: Path, provider: str, mapped: Sequence[str] = ()) -> list[BillLine]:
    """All lines of a bill. Raises ConfigError that says which line or column is at fault.

    ``mapped`` are ``column=ours`` with the names of ``OURS``.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text") from error
    rows, names = _rows(path, text)
    found = _format(path, provider, names, mapped)
    if "cost_usd" not in found.columns.values():
        raise ConfigError(f"{path}: no column is the amount: give --map COLUMN=cost_usd")
    return [_line(path, number, row, found) for number, row in rows]


def _rows(path: Path, text: str) -> tuple[Iterable[tuple[int, Mapping[str, Any]]], list[str]]:
    if text.lstrip()[:1] in ("[", "{"):
        try:
            found = json.loads(text, parse_float=str, parse_int=str)
        except ValueError as error:
            raise ConfigError(f"{path}: not valid JSON") from error
        if isinstance(found, dict):  # RunPod's answer as it came
            found = found.get("records")
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise ConfigError(f"{path}: a list of objects is needed")
        names = list(dict.fromkeys(name for row in found for name in row))
        return enumerate(found, 1), names
    lines = csv.DictReader(text.splitlines())
    return _numbered(lines), [name.strip() for name in lines.fieldnames or ()]


def _numbered(lines: csv.DictReader[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for row in lines:
        yield lines.line_num, {(name or "").strip(): value for name, value in row.items()}


def _format(path: Path, provider: str, names: Sequence[str], mapped: Sequence[str]) -> Format:
    """Our names by theirs."""
    if mapped:
        columns = {}
        for said in mapped:
            theirs, equals, ours = said.rpartition("=")
            if not equals or ours not in OURS:
                raise ConfigError(f"--map {said}: it is COLUMN=one of {', '.join(OURS)}")
            if theirs not in names:
                raise ConfigError(f"--map {said}: the columns are {', '.join(names)}")
            columns[theirs] = ours
        return Format(columns, "--map")
    for known in (*FORMATS.get(provider, ()), _GENERIC):
        if set(names) <= known.columns.keys():
            columns = {name: known.columns[name] for name in names if known.columns[name]}
            return replace(known, columns=columns)
    why = UNKNOWN.get(provider, f"no format of {provider} is known")
    raise ConfigError(
        f"{path}: these columns are not known ({', '.join(names)}): {why}. Name them: "
        f"--map COLUMN=ours, where ours is one of {', '.join(OURS)}"
    )


def _line(path: Path, number: int, row: Mapping[str, Any], form: Format) -> BillLine:
    said = {
        ours: str(row[theirs]).strip()
        for theirs, ours in form.columns.items()
        if row.get(theirs) not in (None, "")
    }
    place = f"{path}: line {number}"
    if said.get("currency", "USD").upper() != "USD":
        raise ConfigError(f"{place}: only USD can be compared, not {said['currency']}")
    usd = _amount(place, "cost_usd", said.get("cost_usd", ""))
    exponent = usd.as_tuple().exponent
    assert isinstance(exponent, int)
    words = " ".join(said.get(name, "") for name in ("kind", "model", "sku"))
    traffic = form.usage_only or _NO_TRAFFIC.search(words) is None
    quantity, unit_price = said.get("quantity"), said.get("unit_price_usd")
    return BillLine(
        usd,
        Decimal(5).scaleb(min(exponent, 0) - 1),
        said.get("job_id"),
        said.get("model"),
        said.get("sku"),
        _instant(place, "start_time", said.get("start_time")),
        _instant(place, "end_time", said.get("end_time")),
        None if quantity is None else _amount(place, "quantity", quantity),
        None if unit_price is None else _amount(place, "unit_price_usd", unit_price),
        traffic,
    )


def _amount(place: str, name: str, text: str) -> Decimal:
    found = _AMOUNT.match(text)
    try:
        if found is None:
            raise InvalidOperation
        return Decimal(found[1] + found[2].replace(",", ""))
    except InvalidOperation:
        raise ConfigError(f"{place}: {name}: {text!r} is no amount") from None


def _instant(place: str, name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{place}: {name}: {text!r} is no RFC 3339 time") from None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
