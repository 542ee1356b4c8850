"""What tests of reports share: a ledger filled by hand, and questions to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from tests.ledger.samples import NOON_US

HOUR_US = 3_600_000_000
Fill = Callable[..., Reports]


def asked(**given: Any) -> ReportQuery:
    return ReportQuery(**{"start_at_us": 0, "end_at_us": NOON_US + 10_000 * HOUR_US, **given})


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def column(report: dict[str, Any], *names: str) -> list[Any]:
    return [tuple(row[name] for name in names) for row in report["data"]]
