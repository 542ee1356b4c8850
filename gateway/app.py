"""The only place that wires concrete things together."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.accounting.settle import settle_interrupted
from gateway.alerting import Alerting
from gateway.clock import Clock
from gateway.errors import GatewayError, ResultsUnavailable
from gateway.execution.charging import Charging
from gateway.execution.coming_back import expect
from gateway.execution.executor import Executor
from gateway.execution.results import Results
from gateway.execution.resuming import resume_charges
from gateway.execution.warm_start import recall, supervise
from gateway.http import budgets as budget_routes
from gateway.http import (
    chat,
    comparison,
    deployments,
    docs,
    entrance,
    generate,
    keys,
    reports,
    system,
    warmth,
    webhooks,
)
from gateway.http.body import ClientGone
from gateway.http.dashboard import routes as dashboard
from gateway.http.dispatch import HotRoutes
from gateway.http.doors import Doors, Keyring
from gateway.http.errors import HttpError, error_response
from gateway.http.idempotency import Idempotency
from gateway.http.state import State
from gateway.keeping.left_open import book_left_open
from gateway.keeping.starting import keepers
from gateway.ledger.errors import LedgerUnavailable, SchemaMismatch, StoreUnavailable
from gateway.ledger.layout import database_path, journal_dir, keys_path, results_path
from gateway.ledger.reading import signs
from gateway.ledger.reading.opened import Opened
from gateway.ledger.reading.spend import SpendReader
from gateway.ledger.reading.unsettled import Unsettled
from gateway.ledger.reading.unshipped import Unshipped
from gateway.ledger.reports.reports import MOST_ROWS_READ, Reports
from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping.child import ShipperProcess
from gateway.ledger.shipping.lag import LagMeter
from gateway.ledger.writing.journal import Journal
from gateway.ledger.writing.recovery import recover
from gateway.limits.book import MemoryBook
from gateway.limits.budgets import Budgets
from gateway.limits.keystore import KeyStore, KeyStoreUnusable, StoredKey
from gateway.limits.keywatch import KeyWatch
from gateway.limits.rates import MemoryBuckets
from gateway.presence import hold
from gateway.pulse import Pulse
from gateway.reconciliation.driver import Reconciliation
from gateway.registry import Registry, Target
from gateway.routing import Routes
from gateway.settings import Settings
from gateway.tracing import telling
from providers.contract import EndsWithGateway, Http, ProviderPlugin, ProviderSettings
from providers.toolkit.http import open_http

logger = logging.getLogger(__name__)

_ALIVE_EVERY_SECONDS = 1.0
_FORGET_EVERY_SECONDS = 60.0
_CATCH_UP_SECONDS = 3.0
NO_CONTENT = 204


class Gateway(FastAPI):
    """FastAPI, with the doors and the two hot routes before it."""

    def __init__(self, settings: Settings, **known: Any) -> None:
        super().__init__(**known)
        self._keys_needed = settings.needs_keys
        hot = {"/v1/generate": generate.generate, "/v1/chat/completions": chat.chat_completions}
        self._hot = HotRoutes(super().__call__, Doors(settings), hot)

    def openapi(self) -> dict[str, Any]:
        """The API as a document; takes a third of a second the first time."""
        if self.openapi_schema is None:
            from gateway.http.openapi.document import document

            self.openapi_schema = document(
                self.routes,
                title=self.title,
                version=self.version,
                keys_needed=self._keys_needed,
            )
        return self.openapi_schema

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's message stream."""
        if scope["type"] == "http":
            scope["app"] = self
        await self._hot(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    plugins: Mapping[str, ProviderPlugin] | None = None,
    clock: Clock | None = None,
    http: Callable[[ProviderSettings], Http] = open_http,
    log_attempts: bool = True,
    dice: Callable[[str], random.Random] = lambda deployment: random.Random(),  # noqa: S311
    python: str = sys.executable,
) -> Gateway:
    """The gateway as an ASGI application.

    ``plugins`` come before the installed ones of the same name (tests use it); ``log_attempts``
    prints one JSON line per attempt on standard error; ``dice`` draw what a deployment's keep-warm
    policy leaves to chance; ``python`` is what the shipper is started by. Raises ConfigError when
    the configuration names what does not exist; starting raises ConfigError when another gateway
    holds the data folder.
    """
    if settings.telemetry.otlp_endpoint is not None and settings.telemetry.pass_on:
        http = telling(http)
    registry = Registry(settings, http, plugins)
    registry.build()
    models = {name: model.deployments for name, model in settings.models.items()}
    rules = {name: model.rules for name, model in settings.models.items()}
    routes = Routes(models, registry.targets.values(), rules)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.gateway = await _open(
                stack, settings, registry, routes, clock or Clock(), log_attempts, dice, python
            )
            yield

    app = Gateway(
        settings,
        title="Serverless inference gateway",
        version=version("serverless-inference-gateway"),
        summary="One door to serverless inference, and the truth about what it costs.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its files from a content network
        redoc_url=None,
        openapi_url=None,  # served by http.docs, in a thread
    )
    asked = (generate, chat, reports, comparison, deployments, budget_routes, warmth, keys)
    for module in (*asked, webhooks, system, entrance, docs, dashboard):
        app.include_router(module.router)
    app.add_exception_handler(HttpError, _refuse)
    app.add_exception_handler(GatewayError, _refuse)
    app.add_exception_handler(LedgerUnavailable, _refuse)
    app.add_exception_handler(StoreUnavailable, _refuse)
    app.add_exception_handler(SchemaMismatch, _refuse)
    app.add_exception_handler(KeyStoreUnusable, _refuse)
    app.add_exception_handler(ClientGone, _nobody_there)
    app.add_exception_handler(HTTPException, _refuse_route)
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(Exception, _refuse)
    return app


async def _open(
    stack: AsyncExitStack,
    settings: Settings,
    registry: Registry,
    routes: Routes[Target],
    clock: Clock,
    log_attempts: bool,
    dice: Callable[[str], random.Random],
    python: str,
) -> State:
    data_dir = settings.server.data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    stack.callback(hold(data_dir))
    stack.push_async_callback(registry.aclose)
    alive, last_seen_us = signs.alive_path(data_dir), signs.starts(data_dir)
    journal = Journal.open(
        journal_dir(data_dir),
        fsync=settings.journal.fsync,
        rotate_bytes=settings.journal.rotate_bytes,
    )
    stack.callback(journal.close)
    own_file, _ = journal.position()

    def close_books(row: AttemptRow, now_us: int) -> AttemptRow:
        target = registry.targets.get(row.deployment)
        timeouts = settings.timeouts if target is None else target.timeouts
        ended_by: datetime | None = None
        if target is not None and isinstance(target.deployment, EndsWithGateway):
            ended_by = target.deployment.ended_by(datetime.fromtimestamp(now_us / 1e6, UTC))
        return settle_interrupted(
            row,
            now_us=now_us,
            last_seen_us=last_seen_us,
            total_seconds=timeouts.total_seconds,
            ended_by_us=None if ended_by is None else round(ended_by.timestamp() * 1e6),
        )

    left_open, unshipped = Opened(), Unshipped()
    recover(journal_dir(data_dir), journal, close_books, left_open.read, unshipped.read)
    shipper = ShipperProcess(
        data_dir,
        log=log_attempts,
        rollup_tags=settings.ledger.rollup_tags,
        keep_days=settings.ledger.attempts_days,
        telemetry=settings.telemetry,
        python=python,
    )
    reader = SpendReader(data_dir, shipper.nudge)
    budgets = Budgets(
        settings.budgets,
        MemoryBook(clock.monotonic),
        clock,
        reader,
        reader.changes_after,
        wait_seconds=settings.server.budget_wait_seconds,
    )
    await shipper.start(changed=budgets.heard_later)
    stack.push_async_callback(shipper.aclose)
    stack.push_async_callback(budgets.aclose)
    fsync = settings.journal.fsync == "group"
    charging = Charging(journal, clock, registry.targets.values())
    held = book_left_open(left_open, registry.targets, charging, last_seen_us)
    stack.callback(charging.close)
    executor = Executor(journal, clock, settings.retries, charging, fsync=fsync, ceilings=budgets)
    keyring = Keyring(
        settings.auth.keys,
        required=settings.needs_keys,
        wall_us=clock.wall_us,
        rates=settings.rate_limits,
    )

    def take_over(stored: Sequence[StoredKey]) -> None:
        keyring.set_stored(stored)
        live = [k for k in stored if k.revoked_at_us is None and k.name not in keyring.configured]
        budgets.set_key_budgets([given for key in live for given in key.budget_settings()])
        executor.budgets = budgets if budgets.all else None

    store = KeyStore(keys_path(data_dir))
    keywatch = KeyWatch(store, take_over)
    await keywatch.start()
    stack.push_async_callback(keywatch.aclose)
    reconciliation = Reconciliation(
        registry.targets, Unsettled(data_dir), journal, clock, settings.reconciliation
    )
    if reconciliation.asks:
        stack.push_async_callback(_end, asyncio.create_task(reconciliation.run()))
    pulse = Pulse(executor)
    results = Results(results_path(data_dir), keep_seconds=settings.server.keep_answers_seconds)
    stack.push_async_callback(results.aclose)
    await expect(executor.away, results, clock.wall_us())
    forgetting = asyncio.create_task(_forget(results, clock))
    stack.callback(forgetting.cancel)
    opened: list[Reports] = []

    def open_reports() -> Reports:
        if not opened:
            opened.append(Reports(database_path(data_dir), most_rows_read=MOST_ROWS_READ))
        return opened[0]

    position = journal.position()
    caught_up = functools.partial(shipper.wait_for, position, _CATCH_UP_SECONDS)
    unshipped.read_from(journal_dir(data_dir), own_file)
    await resume_charges(
        registry,
        charging,
        open_reports,
        unshipped,
        left_open,
        caught_up=caught_up,
        last_seen_us=last_seen_us,
    )
    signs.lives(data_dir)
    duties = (journal.tick, charging.tick, budgets.expire, pulse.tick)
    housekeeping = asyncio.create_task(_keep_house(alive, duties))
    stack.callback(housekeeping.cancel)
    for target in registry.targets.values():
        target.warmth.wall_offset_seconds = clock.wall_us() / 1e6 - clock.monotonic()
        supervise(target, clock)
    recalling = asyncio.create_task(recall(registry.targets, clock, caught_up, open_reports))
    stack.callback(recalling.cancel)
    alerting = Alerting(settings.alerts, registry.targets, clock)
    stack.push_async_callback(alerting.aclose)
    stack.callback(asyncio.create_task(alerting.watch(recalling)).cancel)
    for keeper in await keepers(settings, registry, charging, open_reports, dice, held, unshipped):
        stack.push_async_callback(keeper.aclose)
        stack.push_async_callback(_end, asyncio.create_task(keeper.run()))
    # The last to be set up is the first to be ended: what a drain lets end is kept warm, looked
    # after and booked like anything else.
    stack.push_async_callback(executor.drain, 1.0)
    return State(
        settings=settings,
        registry=registry,
        reconciliation=reconciliation,
        routes=routes,
        executor=executor,
        shipper=shipper,
        reports=open_reports,
        results=results,
        idempotency=Idempotency(results, clock),
        keyring=keyring,
        keys=store,
        keywatch=keywatch,
        budgets=budgets,
        buckets=MemoryBuckets(clock.monotonic),
        started_at_us=clock.wall_us(),
        lag=LagMeter(journal_dir(data_dir)),
        pulse=pulse,
    )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))


async def _keep_house(path: Path, duties: Sequence[Callable[[], object]]) -> None:
    """Each second: leave a sign of life, let a journal that was out of room try again, and book
    what idle and standing machines have cost. Leases whose holder is lost end here too, and the
    page of what runs gets its figures.

    The sign tells a restart until when this process ran.
    """
    while True:
        try:
            os.utime(path)
        except OSError:
            logger.warning("cannot leave a sign of life: the data folder takes no writes")
        for duty in duties:
            try:
                duty()
            except Exception:  # a fault in one of them must end neither itself nor the others
                logger.exception("housekeeping: a fault of the gateway")
        await asyncio.sleep(_ALIVE_EVERY_SECONDS)


async def _forget(results: Results, clock: Clock) -> None:
    """Each minute: erase the answers that have been kept long enough."""
    while True:
        try:
            await results.expire(clock.wall_us())
        except ResultsUnavailable:
            logger.warning("kept answers cannot be erased now")
        await asyncio.sleep(_FORGET_EVERY_SECONDS)


async def _refuse(request: Request, error: Exception) -> Response:
    return error_response(error)


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, message = {
        404: ("route_not_found", "There is no such route."),
        405: ("method_not_allowed", "This route does not take this method."),
    }.get(error.status_code, ("refused", f"{error.detail}."))
    response = error_response(HttpError(error.status_code, code, message))
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def _nobody_there(request: Request, error: Exception) -> Response:
    return Response(status_code=NO_CONTENT)  # the client hung up; this goes nowhere
