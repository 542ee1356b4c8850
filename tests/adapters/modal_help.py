"""Ways to a bound Modal deployment, and the folds that hold it against the emulator's truth."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.accounting.coldstart import ColdStart, classify
from gateway.accounting.metering import NOTHING
from gateway.accounting.prices import PriceBook, built_in_rows
from gateway.accounting.pricing import Billable, Cost, Seconds, price
from gateway.accounting.timeline import Timeline
from providers.contract import Event, Finished, GenerateRequest, Host
from providers.modal import ModalOptions, ModalProvider, ModalSettings
from providers.modal.function import FunctionDeployment
from providers.toolkit.grammar import GrammarChecker
from providers.toolkit.http import open_http
from tests.emulators.modal import TOKEN, Modal

ASKED = GenerateRequest("Say something.")


@asynccontextmanager
async def provider(modal: Modal | None = None, **settings: Any) -> AsyncIterator[ModalProvider]:
    """A provider connected to the emulator."""
    if modal is not None:
        settings = {
            "server_url": modal.url,
            "token_id": TOKEN[0],
            "token_secret": TOKEN[1],
            "rpc_timeout_seconds": 5.0,
            **settings,
        }
    given = ModalSettings.model_validate(settings)
    http = open_http(given)
    made = ModalProvider(given, Host(http, Path()))
    try:
        yield made
    finally:
        await made.aclose()
        await http.aclose()


@asynccontextmanager
async def deployment(modal: Modal, **options: Any) -> AsyncIterator[FunctionDeployment]:
    """A function or class of the emulated app."""
    async with provider(modal) as made:
        bound = made.bind("m", ModalOptions.model_validate({"app": "emulated", **options}))
        assert isinstance(bound, FunctionDeployment)
        yield bound


@dataclass(slots=True)
class Seen:
    """One attempt as the gateway would see it."""

    events: list[Event]
    timeline: Timeline

    @property
    def cold(self) -> ColdStart:
        return classify(self.timeline)

    @property
    def finished(self) -> Finished:
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last

    def cost(self, name: str = "modal-h100") -> Cost:
        """What the attempt costs, by the same rules as in ``gateway.accounting.settle``."""
        tariff = PriceBook(built_in_rows()).find(name)
        assert tariff is not None
        boot, execute = self.timeline.boot_seconds, self.timeline.execute_seconds
        assert execute is not None
        pays_boot = boot is not None and self.cold.caused_boot is not False
        used = Billable(
            NOTHING,
            execute=Seconds(execute),
            boot=Seconds(boot) if pays_boot and boot is not None else None,
        )
        return price(tariff.rows[0], used)


async def ask(bound: Any, request: GenerateRequest = ASKED) -> Seen:
    """One whole attempt."""
    events: list[Event] = []
    timeline, grammar = Timeline(time.monotonic()), GrammarChecker()
    async with aclosing(bound.generate(request)) as stream:
        async for event in stream:
            grammar.check(event)
            timeline.observe(event, time.monotonic())
            events.append(event)
    grammar.end()
    timeline.end(time.monotonic())
    return Seen(events, timeline)


def usd(seconds: float, usd_per_second: str = "0.001097") -> Decimal:
    """So many seconds of an H100, by the emulator's truth."""
    return Decimal(str(round(seconds, 6))) * Decimal(usd_per_second)
