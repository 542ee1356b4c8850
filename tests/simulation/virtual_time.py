"""An event loop whose time stands still while anything is ready, and then jumps to the next timer.

    found = run(main, begin_us=0)

Time is integer microseconds, so that instants are exact. There is nothing to wait for but timers:
sockets are never looked at, work for threads is done at once, and a loop in which nothing will ever
happen says so instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class NothingWillHappen(RuntimeError):
    """Everything waits, and no timer is set."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time`` is ``now_us`` in seconds."""

    def __init__(self, begin_us: int = 0) -> None:
        self.now_us = begin_us
        super().__init__(_Jump(self))
        self._clock_resolution = 5e-7  # a timer is due within half a microsecond

    def time(self) -> float:
        return self.now_us / 1e6

    def run_in_executor(  # type: ignore[override]  # its own type cannot be spelt in Python 3.11
        self, executor: object, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class _Jump(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingWillHappen
        self._loop.now_us += round(timeout * 1e6)
        return []


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, Result]], begin_us: int = 0) -> Result:
    """Run until ``main`` has returned; what it has left behind is cancelled."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(begin_us)) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return runner.run(main(loop))


class FastLoop(asyncio.SelectorEventLoop):
    """Its time, and so every timeout in it, runs ``speed`` times as fast as the wall's.

    Sockets are real ones. ``time`` is 0 at ``began_at``, an instant of ``time.monotonic()``.
    """

    def __init__(self, speed: float, began_at: float) -> None:
        self._speed = speed
        self._began_at = began_at
        super().__init__(_Hurry(speed))

    def time(self) -> float:
        return (time.monotonic() - self._began_at) * self._speed


class _Hurry(selectors.DefaultSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._speed)
