"""From a question to its answer: which traffic it is about, and the comparison over it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.accounting.prices import PriceBook
from gateway.comparison.ask import Ask
from gateway.comparison.compare import compare
from gateway.comparison.trace_files import read_trace, what_if
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from gateway.ledger.reports.traffic import MOST_ROWS
from gateway.settings import Settings
from gateway.warmth.arrivals import Traffic


def answer(
    settings: Settings,
    book: PriceBook,
    ask: Ask,
    query: ReportQuery,
    reports: Reports | None,
    *,
    trace: Path | None = None,
    trace_where: Mapping[str, str] | None = None,
    columns: Sequence[str] = (),
    most_rows: int = MOST_ROWS,
) -> dict[str, Any]:
    """The comparison; blocks. ``reports`` None: there is no ledger to learn from.

    Raises BadQuery (the question), StoreUnavailable and SchemaMismatch (the database).
    """
    if reports is None:
        history = Traffic("ledger", query.start_at_us, query.end_at_us, [], 0)
    else:
        history = reports.traffic(query, most_rows)
    if trace is not None:
        unsaid = (ask.input_tokens, ask.output_tokens)
        traffic = read_trace(trace, most_rows, *unsaid, trace_where, columns)
    elif ask.requests_per_day is not None:
        assert ask.input_tokens is not None and ask.output_tokens is not None
        traffic = what_if(ask.requests_per_day, ask.input_tokens, ask.output_tokens, most_rows)
    else:
        traffic = history
    return compare(settings, book, ask, traffic, history, time.time_ns() // 1000)
