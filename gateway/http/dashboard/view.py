"""What a page's module gives back: the template's name and what goes into it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.http.dashboard.tables import Table
from gateway.http.dashboard.visits import Visit
from gateway.http.reports import caught_up
from gateway.ledger.reports.reports import Reports

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class View:
    """``table`` is what the page's CSV holds."""

    template: str
    shown: Mapping[str, Any] = field(default_factory=dict)
    table: Table | None = None


async def read(visited: Visit, ask: Callable[[Reports], Found]) -> tuple[Found, str | None]:
    """What the reports say, and as of when where the database lags behind; None: it does not."""
    state = visited.state
    fresh = await caught_up(state)
    found = await asyncio.to_thread(ask, state.reports())
    return found, None if fresh else await asyncio.to_thread(state.reports().as_of)
