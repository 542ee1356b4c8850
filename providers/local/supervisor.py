"""One engine for many callers: started by the first, ended when nobody has used it for a while.

State: nothing -> booting -> running -> nothing. All of it changes on one event loop and between
awaits, so that taking a lease is atomic: N callers at once make one start, and one of them caused
it. A failed start leaves nothing behind; the next caller tries again.

A boot that was asked for by itself (``boot``) ends with the last who waits for it. One that any
``lease`` has joined goes on, whoever leaves: the retry of an SDK that ran out of patience attaches
to it. However near its end it may be, it is ended: nobody knows how near, and one that came up for
nobody would cost its idle time as well. One that is up stays up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from providers.contract import BootTimeout, ProbeState, ProviderError, UpstreamFailed
from providers.local.launch import Instance, Launch
from providers.local.weights import WeightsUnavailable

logger = logging.getLogger(__name__)


class Lease:
    """The right to use the engine; while it is held, the engine is not ended for idleness."""

    def __init__(self, work: Instance | asyncio.Task[Instance], caused: bool) -> None:
        self._work = work
        self.caused = caused
        """Whether this lease is why the engine boots."""

    @property
    def booted(self) -> bool:
        """Whether the holder has to wait for a boot, its own or another's."""
        return isinstance(self._work, asyncio.Task)

    async def ready(self) -> Instance:
        """The engine, once it runs. Leaving does not end the boot: others may wait for it too.

        Raises: ProviderError when the boot failed.
        """
        if isinstance(self._work, Instance):
            return self._work
        await asyncio.wait({self._work})
        if self._work.cancelled():
            raise UpstreamFailed("The local engine is being shut down.")
        failure = self._work.exception()
        if isinstance(failure, ProviderError):
            # One exception object must not be raised in many tasks.
            raise type(failure)(failure.detail) from failure
        return self._work.result()


class Supervisor:
    """Keeps at most one engine. ``idle_timeout_seconds`` None: it is never ended for idleness."""

    def __init__(
        self,
        launch: Launch,
        *,
        idle_timeout_seconds: float | None = 300.0,
        boot_timeout_seconds: float = 600.0,
    ) -> None:
        self._launch = launch
        self._idle_timeout_seconds = idle_timeout_seconds
        self._boot_timeout_seconds = boot_timeout_seconds
        self._boot: asyncio.Task[Instance] | None = None
        self._boot_has_work = False  # whether any call that the engine is to work for has joined it
        self._instance: Instance | None = None
        self._leases = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._told: list[Callable[[ProbeState], None]] = []
        self._ending: set[asyncio.Task[Any]] = set()
        self._watches: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def state(self) -> ProbeState:
        """Where the engine stands, read without touching it."""
        if self._running() is not None:
            return "ready"
        return "down" if self._boot is None else "booting"

    def watch(self, tell: Callable[[ProbeState], None]) -> None:
        """``tell`` hears the state now, and whenever it changes."""
        self._told.append(tell)
        tell(self.state)

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Take the engine, starting it where it does not run.

        Not asynchronous, so that the holder can tell of a wait (``Lease.booted``) before waiting.
        """
        with self._leased() as lease:
            self._boot_has_work = True
            yield lease

    async def boot(self) -> None:
        """Have the engine run, for no work. Raises: ProviderError.

        Who leaves ends the boot, unless others wait for it or it has work; leaving takes as long as
        the end of the process.
        """
        try:
            with self._leased() as lease:
                await lease.ready()
        except asyncio.CancelledError:
            boot = self._boot
            if boot is not None and not self._leases and not self._boot_has_work:
                self._call_off(boot)
                await asyncio.wait({boot})
            raise

    async def aclose(self) -> None:
        """End the engine, or its boot. Takes no further leases."""
        self._closed = True
        self._disarm()
        boot = self._boot
        if boot is not None:
            boot.cancel()
            await asyncio.wait({boot})
        self._end("the gateway stops")
        while pending := self._ending | self._watches:
            await asyncio.wait(pending)

    @contextmanager
    def _leased(self) -> Iterator[Lease]:
        if self._closed:
            raise UpstreamFailed("The local engine is being shut down.")
        self._leases += 1
        self._disarm()
        try:
            yield self._take()
        finally:
            self._leases -= 1
            self._arm()

    def _take(self) -> Lease:
        running = self._running()
        if running is not None:
            return Lease(running, caused=False)
        caused = self._boot is None
        if self._boot is None:
            self._boot_has_work = False
            self._boot = asyncio.create_task(self._start())
            # With nobody left to wait, a failure has been logged already.
            self._boot.add_done_callback(lambda boot: boot.cancelled() or boot.exception())
            self._boot.add_done_callback(self._tell)
            self._tell()
        return Lease(self._boot, caused)

    def _running(self) -> Instance | None:
        if self._instance is not None and self._instance.child.alive:
            return self._instance
        return None

    async def _start(self) -> Instance:
        try:
            if self._ending:  # two at once may not fit into memory
                await asyncio.wait(self._ending)
            async with asyncio.timeout(self._boot_timeout_seconds):
                instance = await self._launch.start()
        except TimeoutError:
            logger.error("the local engine was not ready in %g s", self._boot_timeout_seconds)
            raise BootTimeout(
                f"The local engine was not ready after {self._boot_timeout_seconds:g} seconds."
            ) from None
        except (OSError, WeightsUnavailable) as error:
            logger.error("the local engine could not be started: %s", error)
            raise UpstreamFailed("The local engine could not be started.") from error
        finally:
            if self._boot is asyncio.current_task():  # else it was called off
                self._boot = None
        own = instance.own_seconds
        told = "" if own is None else f" ({own:.3f} s by its own clock)"
        logger.info("engine %d ready in %.3f s%s", instance.child.pid, instance.boot_seconds, told)
        self._instance = instance
        self._track(self._watches, self._watch(instance))
        # Callers who have left may come back: the retry of an SDK that ran out of patience finds
        # a warm engine. Where nobody comes, the idle timer ends it.
        self._arm()
        return instance

    async def _watch(self, instance: Instance) -> None:
        await instance.child.exited()
        if self._instance is instance:
            self._instance = None
            self._disarm()
            self._tell()
        exit_code = await instance.child.stop()  # its own children and pipes
        if not instance.child.told_to_end:
            logger.error(
                "engine %d ended by itself (exit code %d); its last words:\n%s",
                instance.child.pid,
                exit_code,
                instance.child.last_words,
            )

    def _arm(self) -> None:
        idle = self._leases == 0 and self._instance is not None and not self._closed
        if idle and self._idle_timeout_seconds is not None:
            self._disarm()
            self._idle_timer = asyncio.get_running_loop().call_later(
                self._idle_timeout_seconds, self._end, "idle"
            )

    def _disarm(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _call_off(self, boot: asyncio.Task[Instance]) -> None:
        """End a boot; who comes from now on starts another, once its process has ended."""
        logger.info("ending a boot that nobody waits for")
        self._boot = None
        self._ending.add(boot)
        boot.add_done_callback(self._ending.discard)
        boot.cancel()
        self._tell()

    def _end(self, why: str) -> None:
        instance, self._instance = self._instance, None
        if instance is not None:
            logger.info("ending engine %d: %s", instance.child.pid, why)
            self._tell()
            self._track(self._ending, instance.child.stop())

    def _tell(self, _: object = None) -> None:
        for tell in self._told:
            tell(self.state)

    @staticmethod
    def _track(tasks: set[asyncio.Task[Any]], work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
