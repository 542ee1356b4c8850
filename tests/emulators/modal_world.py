"""The inside of the emulated Modal: containers that boot, serve, idle and end, on its own clock.

It knows the truth that an adapter can only infer: which call waited for a boot, whose boot that
was, how long it took and how long every container lived, which is what Modal bills
(https://modal.com/docs/guide/billing, read 2026-11-23).

Time runs ``speed`` times as fast as ours, so a boot of 12 s takes 0.12 s of a test, and
``advance`` lets idle time pass. Stamps have the digits that the wire has: microseconds, and of the
birth of calls and containers the milliseconds of their ids, so that the truth can be told exactly.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from modal_proto import api_pb2

BEGIN = 1_795_435_200.0  # 2026-11-23T12:00:00Z
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(slots=True)
class Container:
    """``ended_at`` None: it is up, and billed."""

    id: str
    created_at: float
    cause: Call | None
    ready_at: float | None = None
    ended_at: float | None = None
    running: int = 0


@dataclass(slots=True, eq=False)
class Call:
    """One input of one function call, with everything that happened to it."""

    id: str
    function: str
    arguments: Any
    data_format: int
    created_at: float
    method: str = ""
    container: Container | None = None
    started_at: float | None = None
    ended_at: float | None = None
    result: api_pb2.GenericResult | None = None
    result_format: int = 0
    chunks: list[api_pb2.DataChunk] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    cancelled: bool = False

    def tell(self) -> None:
        """Wake whoever waits for chunks or for the result."""
        self.news.set()
        self.news = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened to a call, in seconds of the world's clock."""

    cold: bool
    caused_boot: bool
    queue_seconds: float
    boot_seconds: float
    wait_seconds: float
    execute_seconds: float
    container_id: str

    @property
    def billed_seconds(self) -> float:
        """What the call adds to the life of its container, before the idle time that follows."""
        boot_seconds = self.boot_seconds if self.caused_boot else 0.0
        return round(boot_seconds + self.execute_seconds, 6)


def scenario_of(function: str) -> str:
    """``warm`` for the function ``warm``, the generator ``warm@stream`` and the class ``warm``."""
    return function.removesuffix(".*").partition("@")[0]


Play = Callable[["Call"], Awaitable[None]]


@dataclass(slots=True)
class Pool:
    """The containers of one function, and the calls that wait for one."""

    containers: list[Container] = field(default_factory=list)
    backlog: list[Call] = field(default_factory=list)
    minimum: int = 0
    maximum: int | None = None

    @property
    def up(self) -> list[Container]:
        return [c for c in self.containers if c.ended_at is None]


class World:
    """All functions of a workspace. Lives in one event loop; the truth may be read from others."""

    def __init__(
        self,
        play: Play,
        *,
        speed: float = 100.0,
        boot_seconds: float = 12.0,
        scaledown_seconds: float = 60.0,
        max_inputs: int = 1,
        execute_seconds: float = 2.0,
        ulids: bool = True,
    ) -> None:
        self.speed = speed
        self.boot_seconds = boot_seconds
        self.scaledown_seconds = scaledown_seconds
        self.max_inputs = max_inputs
        self.execute_seconds = execute_seconds
        self.ulids = ulids
        self.calls: dict[str, Call] = {}
        self.pools: dict[str, Pool] = {}
        self._play = play
        self._begin = time.monotonic()
        self._advanced = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the clock ----------------------------------------------------------------------------

    def now(self) -> float:
        """Unix seconds of this world, to the microsecond."""
        return round(BEGIN + (time.monotonic() - self._begin) * self.speed, 6)

    def advance(self, seconds: float) -> None:
        """Let idle time pass; who sleeps through it wakes."""
        self._begin -= seconds / self.speed
        self._advanced.set()
        self._advanced = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        end = self.now() + seconds
        while (left := end - self.now()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._advanced.wait(), left / self.speed)

    def new_id(self, prefix: str, at: float | None = None) -> str:
        """An id as Modal makes them: a prefix and a ULID, which begins with the milliseconds."""
        if not self.ulids:
            return f"{prefix}-{secrets.token_hex(11)}"
        moment = self.now() if at is None else at
        number = (round(moment * 1_000_000) // 1000 << 80) | secrets.randbits(80)
        return f"{prefix}-" + "".join(_ALPHABET[(number >> 5 * n) & 31] for n in range(25, -1, -1))

    # -- calls --------------------------------------------------------------------------------

    def begin(self, function: str, arguments: Any, data_format: int, method: str = "") -> Call:
        now = _in_milliseconds(self.now())
        call = Call(self.new_id("fc", now), function, arguments, data_format, now, method)
        self.calls[call.id] = call
        self.pool(function).backlog.append(call)
        self._schedule(function)
        return call

    def cancel(self, call: Call) -> None:
        if call.result is not None:
            return
        call.cancelled = True
        pool = self.pool(call.function)
        if call in pool.backlog:
            pool.backlog.remove(call)
        if call.task is not None:
            call.task.cancel()
        else:
            self.finish(call, api_pb2.GenericResult(status=_TERMINATED, exception="Cancelled."))

    def finish(
        self,
        call: Call,
        result: api_pb2.GenericResult,
        data_format: int = 0,
        at: float | None = None,
    ) -> None:
        call.ended_at = self.now() if at is None else at
        call.result, call.result_format = result, data_format
        call.tell()

    def truth(self, call: Call, until: float | None = None) -> Truth:
        """``until`` stands in for the end of a call that is still worked on."""
        assert call.started_at is not None and call.container is not None
        box, ready_at = call.container, call.container.ready_at
        assert ready_at is not None
        cold = ready_at > call.created_at
        booting_since = max(call.created_at, box.created_at)
        return Truth(
            cold=cold,
            caused_boot=box.cause is call,
            queue_seconds=_span(call.created_at, booting_since) if cold else 0.0,
            boot_seconds=_span(booting_since, call.started_at) if cold else 0.0,
            wait_seconds=_span(call.created_at, call.started_at),
            execute_seconds=_span(call.started_at, call.ended_at or until or self.now()),
            container_id=box.id,
        )

    def billed_seconds(self, function: str) -> float:
        """How long the containers of a function have lived, in all."""
        boxes = self.pool(function).containers
        return round(sum(_span(box.created_at, box.ended_at or self.now()) for box in boxes), 6)

    # -- containers ---------------------------------------------------------------------------

    def pool(self, function: str) -> Pool:
        return self.pools.setdefault(function, Pool())

    def stats(self, function: str) -> api_pb2.FunctionStats:
        pool = self.pool(function)
        ready = [box for box in pool.up if box.ready_at is not None]
        running = sum(box.running for box in ready)
        return api_pb2.FunctionStats(
            backlog=len(pool.backlog),
            num_total_tasks=len(ready),
            num_running_inputs=running,
            input_headroom=len(ready) * self.max_inputs - running,
        )

    def scale(self, function: str, minimum: int, maximum: int | None) -> None:
        pool = self.pool(function)
        pool.minimum, pool.maximum = minimum, maximum
        while len(pool.up) < minimum:
            self._boot(function, None)
        for box in pool.up:
            if box.ready_at is not None and not box.running:
                self._idle(function, box)

    def occupy(self, function: str, seconds: float) -> None:
        """Its only container is up, and busy with somebody else's work for so long."""
        pool, now = self.pool(function), self.now()
        pool.maximum = 1
        if not pool.up:
            old = now - 100
            pool.containers.append(Container(self.new_id("ta", old), old, None, ready_at=now - 90))
        (box,) = pool.up
        box.running += 1

        async def end() -> None:
            await self.sleep(seconds)
            box.running -= 1
            self._schedule(function)

        self._spawn(end())

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def forget(self) -> None:
        self.stop()
        self.calls.clear()
        self.pools.clear()

    def _schedule(self, function: str, at: float | None = None) -> None:
        pool = self.pool(function)
        for box in pool.up:
            while pool.backlog and box.ready_at is not None and box.running < self.max_inputs:
                self._start(pool.backlog.pop(0), box, self.now() if at is None else at)
        booting = sum(box.ready_at is None for box in pool.up) * self.max_inputs
        while booting < len(pool.backlog):
            if pool.maximum is not None and len(pool.up) >= pool.maximum:
                return
            self._boot(function, pool.backlog[booting])
            booting += self.max_inputs

    def _boot(self, function: str, cause: Call | None) -> None:
        now = _in_milliseconds(self.now())
        box = Container(self.new_id("ta", now), now, cause)
        self.pool(function).containers.append(box)

        async def boot() -> None:
            never = scenario_of(function) == "never-boots"
            await self.sleep(1e9 if never else self.boot_seconds)
            box.ready_at = self.now()
            self._schedule(function, box.ready_at)  # who waits is taken up at that moment
            if not box.running:
                self._idle(function, box)

        self._spawn(boot())

    def _start(self, call: Call, box: Container, at: float) -> None:
        box.running += 1
        call.container, call.started_at = box, at

        async def run() -> None:
            try:
                await self._play(call)
            except asyncio.CancelledError:
                self.finish(call, api_pb2.GenericResult(status=_TERMINATED, exception="Cancelled."))
            finally:
                box.running -= 1
                self._schedule(call.function)
                if not box.running:
                    self._idle(call.function, box)

        call.task = self._spawn(run())

    def _idle(self, function: str, box: Container) -> None:
        idle_since = self.now()

        async def end() -> None:
            await self.sleep(self.scaledown_seconds)
            busy = any(
                call.container is box
                and (call.ended_at is None or call.ended_at > idle_since or call.task is None)
                for call in self.calls.values()
            )
            pool = self.pool(function)
            if not busy and box.ended_at is None and len(pool.up) > pool.minimum:
                box.ended_at = round(idle_since + self.scaledown_seconds, 6)

        self._spawn(end())

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _in_milliseconds(moment: float) -> float:
    """As an id says it: the rest of the millisecond is cut."""
    return round(moment * 1_000_000) // 1000 / 1000


def _span(since: float, until: float) -> float:
    """Seconds between two stamps, free of what floats add to them."""
    return (round(until * 1_000_000) - round(since * 1_000_000)) / 1_000_000


_TERMINATED = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED
