"""A server that runs already: where it stands, read without touching it, and waking it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from providers.contract import (
    CapacityUnavailable,
    Http,
    HttpResponse,
    ProbeState,
    ProviderError,
    UpstreamFailed,
    UpstreamUnreachable,
)
from providers.local.dialects import Call, Dialect, Look
from providers.toolkit.openai_errors import ERROR_BODY_BYTES, error_from_answer

# asleep: the server is up, the model is not in memory
State: TypeAlias = Literal["ready", "asleep", "booting", "down", "unknown"]

LOOK_READ_TIMEOUT_SECONDS = 2.0  # some hang while they start; that is no answer
LOOK_BYTES = 4 << 20


@dataclass(slots=True)
class Server:
    """One model at one server. ``load_body`` goes with each ``wake``, as it does with requests."""

    http: Http
    base_url: str
    model: str
    dialect: Dialect
    ready_path: str
    headers: Mapping[str, str] = field(repr=False)
    load_body: Mapping[str, Any] = field(default_factory=dict)
    _absent: set[str] = field(default_factory=set)
    _waking: asyncio.Task[None] | None = None

    async def state(self) -> State:
        """Where it stands. Raises UpstreamUnreachable when no connection came about."""
        for look in self.dialect.looks:
            if look.path not in self._absent:
                found = await self._look(look)
                if found is not None:
                    return found
        found = await self._look(Look(self.ready_path, lambda body, model: None))
        return "unknown" if found is None else found

    async def probe(self) -> ProbeState:
        """The same in the words of ``Probeable``: a model that is not in memory is down."""
        try:
            state = await self.state()
        except UpstreamUnreachable:
            return "down"
        return "down" if state == "asleep" else state

    @property
    def is_waking(self) -> bool:
        return self._waking is not None

    def wake(self) -> tuple[asyncio.Task[None], bool]:
        """Wake it, or join whoever does already; and whether this call is the cause.

        The task belongs to all who wait for it: await it through ``waited_for``.
        """
        if self._waking is not None:
            return self._waking, False
        self._waking = asyncio.create_task(self._wake())
        self._waking.add_done_callback(self._woken)
        return self._waking, True

    async def send_to_sleep(self) -> None:
        """Take the model out of memory."""
        assert self.dialect.sleep is not None
        await self._post(self.dialect.sleep, {})

    async def aclose(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            await asyncio.wait({self._waking})

    async def _look(self, look: Look) -> State | None:
        """What one path says; None: nothing."""
        try:
            async with self.http.send(
                "GET",
                self.base_url + look.path,
                headers=self.headers,
                read_timeout_seconds=LOOK_READ_TIMEOUT_SECONDS,
            ) as answer:
                return await self._read(look, answer)
        except UpstreamUnreachable:
            self._absent.clear()  # what comes up again may be started with other options
            raise
        except ProviderError:
            return "unknown"

    async def _read(self, look: Look, answer: HttpResponse) -> State | None:
        if look.path == self.ready_path:
            state: State = self.dialect.states.get(answer.status, "unknown")
            loaded = state != "ready" or self.dialect.ready_is_loaded
            return state if loaded else "unknown"
        if answer.status != 200:
            if answer.status == 404:
                self._absent.add(look.path)
            return "booting" if self.dialect.states.get(answer.status) == "booting" else None
        try:
            body = orjson.loads(await answer.read(LOOK_BYTES))
        except orjson.JSONDecodeError:
            return None
        loaded_ = look.says(body, self.model)
        return None if loaded_ is None else "ready" if loaded_ else "asleep"

    async def _wake(self) -> None:
        dialect = self.dialect
        assert dialect.wake is not None
        if dialect.unwakeable is not None and await self._metrics_say(dialect.unwakeable):
            raise CapacityUnavailable("The server sleeps without its weights; reload them.")
        await self._post(dialect.wake, self.load_body)

    def _woken(self, task: asyncio.Task[None]) -> None:
        self._waking = None
        if not task.cancelled():
            task.exception()  # told to those who wait for it, if anybody does

    async def _metrics_say(self, line: str) -> bool:
        assert self.dialect.metrics_path is not None
        try:
            async with self.http.send(
                "GET", self.base_url + self.dialect.metrics_path, headers=self.headers
            ) as answer:
                text = (await answer.read(LOOK_BYTES)).decode(errors="replace")
        except ProviderError:
            return False
        return re.search(f"^{line}", text, re.MULTILINE) is not None

    async def _post(self, call: Call, more: Mapping[str, Any]) -> None:
        body = {k: self.model if v == "{model}" else v for k, v in call.body.items()}
        async with self.http.send(
            "POST",
            self.base_url + call.path,
            headers={"content-type": "application/json", **self.headers},
            content=orjson.dumps({**body, **more}) if body else b"",
        ) as answer:
            raw = await answer.read(LOOK_BYTES if answer.status == 200 else ERROR_BODY_BYTES)
            if answer.status != 200:
                raise error_from_answer(answer.status, answer.headers, raw)


async def waited_for(waking: asyncio.Task[None]) -> None:
    """Wait for a wake that others may wait for too: leaving does not end it.

    Raises: ProviderError when it failed.
    """
    await asyncio.wait({waking})
    if waking.cancelled():
        raise UpstreamFailed("The gateway stops.")
    failure = waking.exception()
    if isinstance(failure, ProviderError):
        # One exception object must not be raised in many tasks.
        raise type(failure)(
            failure.detail,
            upstream_status=failure.upstream_status,
            retry_after_seconds=failure.retry_after_seconds,
        ) from failure
    waking.result()
