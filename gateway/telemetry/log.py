"""The log: one line of JSON for each finished attempt, and the same shape for all other records.

Nothing here sees a prompt, an output or a key.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import orjson

from gateway.clock import rfc3339
from gateway.errors import GatewayError
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.reports.views import usd_or_null

_LOGGED = (
    *(
        "request_id",
        "attempt",
        "trace_id",
        "provider",
        "deployment",
        "model",
        "status",
        "error_type",
    ),
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
    """Other log records, in the same shape as the line of an attempt.

    A traceback has places and classes. What an exception says is kept of those classes alone whose
    words are made for callers: any other may quote a prompt, an answer or a key.
    """

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": rfc3339(int(record.created * 1e6)),
            "level": record.levelname,
            "event": "log",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            said["traceback"] = _traceback(record.exc_info[1])
        # A lone surrogate, from a file's name say, is no JSON.
        sound = {key: text.encode(errors="backslashreplace").decode() for key, text in said.items()}
        return orjson.dumps(sound).decode()


def _traceback(error: BaseException) -> str:
    """The last failure first, then what it came from."""
    from providers.contract import ProviderError  # and pydantic, which the shipper never needs

    our_words = (ProviderError, GatewayError, LedgerUnavailable)
    parts: list[str] = []
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        name = type(error).__qualname__
        words = f": {error}" if isinstance(error, our_words) else ""
        parts.append(f"{name}{words}\n{''.join(traceback.format_tb(error.__traceback__))}")
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None:
            break
        error = before
    return "from ".join(parts)
