"""The log: one line of JSON for each finished attempt, and the same shape for all other records.

Nothing here sees a prompt, an output or a key.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import orjson

from gateway.clock import rfc3339
from gateway.ledger.views import usd_or_null

_LOGGED = (
    *("request_id", "attempt", "provider", "deployment", "model", "status", "error_type"),
    *("verdict", "evidence", "queue_seconds", "boot_seconds", "first_output_seconds"),
    *("total_seconds", "input_tokens", "output_tokens", "cost_status"),
)
_COLUMNS = {"request_id": "operation_id", "attempt": "attempt_id"}  # where the names differ
_logged = itemgetter(*(_COLUMNS.get(name, name) for name in _LOGGED))


def log_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """The log's line for one finished attempt, ready for JSON."""
    source, other = row["input_tokens_source"], row["output_tokens_source"]
    if source is None or other is None:
        source = source or other
    elif source != other:
        source = "mixed"
    price = row["price"]
    return {
        "time": rfc3339(row["completed_at_us"] or row["begun_at_us"]),
        "level": "INFO",
        "event": "attempt",
        **dict(zip(_LOGGED, _logged(row), strict=True)),
        "token_source": source,
        "cost_usd": usd_or_null(row["cost_pico_usd"]),
        "price_source": None if price is None else price.get("source"),
    }


class JsonFormatter(logging.Formatter):
    """Other log records, in the same shape as the line of an attempt."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": rfc3339(int(record.created * 1e6)),
            "level": record.levelname,
            "event": "log",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(said).decode()
