"""Asks a deployment to the end, and books what came as the gateway would."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceBook, built_in_rows
from gateway.accounting.settle import Observed, settle
from gateway.accounting.timeline import Timeline
from gateway.ledger.rows import AttemptRow
from providers.contract import (
    Delta,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Output,
    ProviderError,
)
from providers.toolkit.grammar import GrammarChecker

PRICES = PriceBook(built_in_rows())


@dataclass(slots=True)
class Asked:
    """What one request gave."""

    events: list[Event] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    begun_at: float = 0.0
    ended_at: float = 0.0
    error: ProviderError | None = None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))

    @property
    def kinds(self) -> list[str]:
        """Names of the events, a run of equal ones once."""
        names: list[str] = []
        for event in self.events:
            if not names or names[-1] != type(event).__name__:
                names.append(type(event).__name__)
        return names

    @property
    def finished(self) -> Finished:
        assert isinstance(self.events[-1], Finished)
        return self.events[-1]

    def row(self, price: str = "replicate-gpu-l40s") -> AttemptRow:
        """Seconds, verdict and cost, as the ledger would have them."""
        timeline = Timeline(self.begun_at)
        for event, at in zip(self.events, self.stamps, strict=True):
            timeline.observe(event, at)
        timeline.end(self.ended_at, self.error.phases if self.error is not None else None)
        usage = self.error.usage if self.error is not None else self.finished.usage
        images = sum(isinstance(e, Output) and e.kind == "image" for e in self.events)
        observed = Observed(
            timeline,
            usage,
            input_bytes=9,
            output_bytes=len(self.text.encode()),
            images=images,
            complete=self.error is None,
            spends=self.error.spends if self.error is not None else True,
        )
        row = AttemptRow(
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
        tariff = PRICES.find(price)
        assert tariff is not None
        settle(row, observed, tariff.rows[0], TokenEstimator())
        return row


def usd(pico_usd: int | None) -> Decimal | None:
    return None if pico_usd is None else Decimal(pico_usd).scaleb(-12)


async def ask(deployment: Deployment, request: GenerateRequest | None = None) -> Asked:
    """All events, each with the moment when it came, and the grammar checked."""
    loop, asked, grammar = asyncio.get_running_loop(), Asked(), GrammarChecker()
    asked.begun_at = loop.time()
    try:
        async with aclosing(deployment.generate(request or GenerateRequest("Say something."))) as g:
            async for event in g:
                grammar.check(event)
                asked.events.append(event)
                asked.stamps.append(loop.time())
        grammar.end()
    except ProviderError as error:
        asked.error = error
    asked.ended_at = loop.time()
    return asked
