"""One attempt as the gateway books it: the same folds, without journal and HTTP."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceRow
from gateway.accounting.settle import Observed, settle
from gateway.accounting.timeline import Timeline
from gateway.ledger.rows import AttemptRow
from providers.contract import (
    Booting,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    ModelLoading,
    ProviderError,
    Started,
)
from providers.toolkit.grammar import GrammarChecker

PAUSE_SECONDS = 0.01


@dataclass(slots=True)
class Folded:
    """What came and what it means."""

    row: AttemptRow
    events: list[Event] = field(default_factory=list)
    failure: ProviderError | None = None


def price_of(usd_per_second: str, *bills: str) -> PriceRow:
    """An operator's own price for seconds."""
    return PriceRow.model_validate(
        {
            "name": "own",
            "effective_from": date(1970, 1, 1),
            "source": "configuration",
            "checked_on": date(2026, 11, 23),
            "usd_per_second": usd_per_second,
            "bills": bills or ("execute", "boot"),
        }
    )


async def attempt(
    deployment: Deployment, request: GenerateRequest, price: PriceRow | None = None
) -> Folded:
    """Ask as an attempt does: again while it loads, then fold, classify and price."""
    clock = asyncio.get_running_loop().time
    timeline, folded = Timeline(clock()), Folded(_row())
    usage: Any = None
    asked_again_at: float | None = None
    while True:
        checker = GrammarChecker()
        try:
            async with aclosing(deployment.generate(request)) as events:
                async for event in events:
                    checker.check(event)
                    if asked_again_at is not None and not isinstance(event, Booting):
                        timeline.observe(Started(), asked_again_at)
                    timeline.observe(event, clock())
                    folded.events.append(event)
                    usage = event.usage if isinstance(event, Finished) else usage
            checker.end()
        except ModelLoading as loading:
            timeline.observe(Booting(loading.evidence), clock())
            await asyncio.sleep(PAUSE_SECONDS)
            asked_again_at = clock()
            continue
        except ProviderError as error:
            folded.failure = error
        break
    failure = folded.failure
    timeline.end(clock(), None if failure is None else failure.phases)
    observed = Observed(
        timeline,
        usage,
        complete=failure is None,
        spends=failure is None or failure.spends,
    )
    settle(folded.row, observed, price, TokenEstimator())
    return folded


def _row() -> AttemptRow:
    return AttemptRow(
        attempt_id="att_1",
        operation_id="gen_1",
        ordinal=0,
        route="generate",
        streamed=True,
        model="m",
        deployment="d",
        provider="p",
        provider_model="m",
        config_revision="r",
        begun_at_us=0,
        operation_at_us=0,
    )
