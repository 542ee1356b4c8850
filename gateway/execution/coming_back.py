"""Who was told by an earlier gateway to come back for an answer that it had then."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from gateway.errors import ResultsUnavailable
from gateway.execution.attended import Away
from gateway.execution.results import COME_BACK_SECONDS, Results

logger = logging.getLogger(__name__)


async def expect(away: Away, results: Results, now_us: int) -> None:
    """Know them for a while, so that their calls get those answers; else these are new calls."""
    try:
        for call, operation_id in await results.told(now_us):
            away.left.setdefault(call, deque()).append(operation_id)
        if away.left:  # as long as somebody is expected, every call is compared
            asyncio.get_running_loop().call_later(COME_BACK_SECONDS, away.left.clear)
    except ResultsUnavailable:
        logger.warning("kept answers cannot be read: who comes back for one will be a new call")
