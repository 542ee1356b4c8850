"""Who was told by an earlier gateway to come back for an answer that it had then."""

from __future__ import annotations

import logging
from collections import deque

from gateway.errors import ResultsUnavailable
from gateway.execution.attended import Away
from gateway.execution.results import Results

logger = logging.getLogger(__name__)


async def expect(away: Away, results: Results, now_us: int) -> None:
    """Know them, so that their calls get those answers; where they cannot be read, they are new."""
    try:
        for call, operation_id in await results.told(now_us):
            away.left.setdefault(call, deque()).append(operation_id)
    except ResultsUnavailable:
        logger.warning("kept answers cannot be read: who comes back for one will be a new call")
