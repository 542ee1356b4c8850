"""What the routes share: one object, made in ``app.py`` and kept on the application."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from gateway.execution.executor import Executor
from gateway.execution.results import Results
from gateway.http.dashboard.glance import Glance
from gateway.http.dashboard.sessions import Sessions
from gateway.http.doors import Keyring
from gateway.http.idempotency import Idempotency
from gateway.ledger.reports.reports import Reports
from gateway.ledger.shipping.child import ShipperProcess
from gateway.ledger.shipping.lag import LagMeter
from gateway.limits.budgets import Budgets
from gateway.limits.keystore import KeyStore
from gateway.limits.keywatch import KeyWatch
from gateway.limits.rates import Buckets
from gateway.pulse import Pulse
from gateway.reconciliation.driver import Reconciliation
from gateway.registry import Registry, Target
from gateway.routing import Routes
from gateway.settings import Settings


@dataclass(slots=True)
class Inbox:
    """Messages of providers that are being read, and by provider how many were refused so far."""

    under_way: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class State:
    """Everything a handler may need; nothing here is a global."""

    settings: Settings
    registry: Registry
    routes: Routes[Target]
    executor: Executor
    shipper: ShipperProcess
    reports: Callable[[], Reports]
    keyring: Keyring
    results: Results
    idempotency: Idempotency
    keys: KeyStore
    keywatch: KeyWatch
    budgets: Budgets
    buckets: Buckets
    reconciliation: Reconciliation
    started_at_us: int
    lag: LagMeter
    pulse: Pulse
    warming: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    sessions: Sessions = field(default_factory=Sessions)
    glance: Glance = field(default_factory=Glance)
    inbox: Inbox = field(default_factory=Inbox)


def state_of(request: Request) -> State:
    """The application's state."""
    state = request.app.state.gateway
    assert isinstance(state, State)
    return state
