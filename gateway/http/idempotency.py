"""``Idempotency-Key``: the same call again joins the run in flight, or gets its answer back.

A key holds for one API key, one route and one body, for as long as answers are kept. Only an answer
that succeeded is given back: a call that failed has been booked, and its key is free again, so that
trying once more is what it looks like. A gateway that dies in the middle keeps no answer either:
the operation stands in the ledger as interrupted, and the key is free.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import orjson
from starlette.requests import Request

from gateway.clock import Clock
from gateway.execution.results import KeptAnswer, Results
from gateway.execution.run import Run
from gateway.http.errors import HttpError

HEADER = "idempotency-key"
_LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class CallIdentity:
    """What makes two calls the same: hashes of key, API key and route, and of the body."""

    scope: str
    digest: str


def identity_of(request: Request, route: str, key_id: str | None, raw: bytes) -> CallIdentity:
    """Who the call says it is. Raises HttpError: the key is no key, or the body no JSON."""
    key = request.headers[HEADER]
    if not 1 <= len(key) <= _LONGEST_KEY or not key.isascii() or not key.isprintable():
        message = f"Idempotency-Key takes 1 to {_LONGEST_KEY} printable ASCII characters."
        raise HttpError(400, "invalid_value", message, param=HEADER)
    try:
        body = orjson.dumps(orjson.loads(raw), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise HttpError(400, "invalid_json", "The request body is not valid JSON.") from None
    scope = orjson.dumps([key_id, route, key])
    return CallIdentity(hashlib.sha256(scope).hexdigest(), hashlib.sha256(body).hexdigest())


@dataclass(slots=True)
class _Underway:
    """A call whose answer is being made; ``run`` is None where it never began."""

    digest: str
    run: asyncio.Future[Run | None] = field(default_factory=asyncio.Future)


class Claim:
    """One caller's hold on a key, as a context: ``kept``, or the ``run`` to follow."""

    def __init__(self, owner: Idempotency, identity: CallIdentity) -> None:
        self._owner = owner
        self._identity = identity
        self._mine: _Underway | None = None
        self.kept: KeptAnswer | None = None
        self.run: Run | None = None

    async def __aenter__(self) -> Claim:
        """Find out what there is. Raises HttpError 422 where the body was another one."""
        scope, digest = self._identity.scope, self._identity.digest
        underway = self._owner.underway
        while (other := underway.get(scope)) is not None:
            _compare(other.digest, digest)
            run = await asyncio.shield(other.run)
            if run is not None:
                if run.join():
                    self.run = run
                    return self
                await run.wait()  # it is being stopped, or its task is about to say that it ended
        self._mine = underway[scope] = _Underway(digest)
        try:
            self.kept = await self._owner.results.find_by_key(scope, self._owner.clock.wall_us())
            if self.kept is not None:
                _compare(self.kept.digest or "", digest)
        except BaseException:
            self._let_go()
            raise
        return self

    def start(self, begin: Callable[[], Run]) -> Run:
        """Begin the run that this key stands for from now on."""
        assert self._mine is not None
        mine, scope, underway = self._mine, self._identity.scope, self._owner.underway
        self.run = run = begin()
        mine.run.set_result(run)

        def ended(_: Any) -> None:
            if underway.get(scope) is mine:
                del underway[scope]

        run.task.add_done_callback(ended)
        return run

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._mine is not None and self.run is None:
            self._let_go()

    def _let_go(self) -> None:
        assert self._mine is not None
        del self._owner.underway[self._identity.scope]
        self._mine.run.set_result(None)


class Idempotency:
    """The keys under way in this process, and the answers kept for those that ended."""

    def __init__(self, results: Results, clock: Clock) -> None:
        self.results = results
        self.clock = clock
        self.underway: dict[str, _Underway] = {}

    def claim(self, identity: CallIdentity) -> Claim:
        """Take hold of a key: at most one run is under way for it at any time."""
        return Claim(self, identity)


def _compare(known: str, given: str) -> None:
    if known != given:
        raise HttpError(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was sent with another body; take a new key for a new request.",
            param=HEADER,
        )
