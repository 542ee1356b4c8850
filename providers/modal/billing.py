"""Rates and the billing report, by Modal's SDK: beside ``sdk``, which holds the account's client.

Source: ``Workspace.billing.report`` of modal 1.6.4 (``_workspace.py``, read 2026-11-26): each item
is one object's cost in one interval, as a decimal; intervals that are not over are not in it. Never
run against the live service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import modal

from providers.contract import BilledSum, ProtocolViolation, UpstreamUnreachable
from providers.modal.api import Bill
from providers.modal.errors import translated

_HOUR = timedelta(hours=1)
_PATIENCE_SECONDS = 60.0  # it may be of a month


async def rates(client: Any, patience_seconds: float) -> Mapping[str, Any]:
    """What the workspace pays, by the names that Modal has for it. Raises ProviderError."""
    asked = modal.Workspace.from_context(client=client).billing.rates
    with translated():
        try:
            async with asyncio.timeout(patience_seconds):
                return dict(await asked.aio())
        except TimeoutError:
            raise UpstreamUnreachable("Modal did not say its rates in time.") from None


async def billed(client: Any, since: datetime, until: datetime) -> Bill:
    """By the hour, named by what an object is called: an app's name. Raises ProviderError."""
    report = modal.Workspace.from_context(client=client).billing.report
    # The SDK takes UTC alone, and rounds the begin down.
    start, end = since.astimezone(UTC), until.astimezone(UTC)
    with translated():
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                items = await report.aio(start=start, end=end, resolution="h")
        except ArithmeticError:
            raise ProtocolViolation("The billing report has a cost that is no amount.") from None
        except TimeoutError:
            raise UpstreamUnreachable("Modal did not give its billing report in time.") from None
    sums = []
    for item in items:
        begin = item.interval_start
        if not item.cost.is_finite():
            raise ProtocolViolation("The billing report has a cost that is no amount.")
        sums.append(BilledSum(item.description, begin, begin + _HOUR, item.cost))
    return sums
