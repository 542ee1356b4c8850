"""The rows that the ledger holds of one operation, as they stand: what its figures lead to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from gateway.clock import rfc3339
from gateway.ledger.reports.views import usd
from gateway.ledger.rows import AttemptRow

_LEFT_OUT = ("operation_id", "price")  # told above, and with its lines


def anchor(attempt_id: str, column: str) -> str:
    """Where a column of an attempt stands on the page."""
    return f"#{attempt_id}.{column}"


def columns_of(rows: Sequence[AttemptRow]) -> list[dict[str, Any]]:
    """A line for each column: its name, and a cell for each attempt."""
    found = []
    for field in dataclasses.fields(AttemptRow):
        values = [(row.attempt_id, getattr(row, field.name)) for row in rows]
        if field.name in _LEFT_OUT:
            continue
        cells = [
            {"id": anchor(attempt_id, field.name)[1:], "text": _said(field.name, value)}
            for attempt_id, value in values
        ]
        found.append({"name": field.name.replace("_pico_usd", "_usd"), "cells": cells})
    return found


def _said(name: str, value: Any) -> str | None:
    """As it stands, money in dollars and instants as such; None is not known."""
    if value is None:
        return None
    if name.endswith("_pico_usd"):
        return f"${usd(value)}"
    if name.endswith("_at_us"):
        return rfc3339(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
