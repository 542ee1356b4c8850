"""For providers that run jobs: create, poll, cancel. Written once, because a lost job bills.

Two promises, kept on every way out (an error, a closed generator, a cancelled task):

* A create call that has begun is never abandoned. Its reply is awaited; the adapter tells the job's
  id, so that the provider can be asked what it cost, and is cancelled at its next await.
* A job that was created is cancelled upstream, unless the adapter says that it has ended.

A create call that fails without a plain refusal (no answer, a broken one, a fault of theirs) may
have made a job that nobody can cancel: its error says ``may_have_run``, and is not tried again.

    async with running_job(create, cancel) as job:
        yield Accepted(job.created.id)
        for seconds in backoff_seconds():
            state = await poll(job.created)
            if state.ended:
                job.ended()
                ...
            await anyio.sleep(seconds)

Both calls run in tasks of their own: cancelling the caller, however often, does not reach them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import anyio

from providers.contract import ProviderError

T = TypeVar("T")
_log = logging.getLogger(__name__)

CANCEL_SECONDS = 5.0
CREATE_SECONDS = 30.0  # longest wait for the reply to a create call whose caller has left


def running_job(
    create: Callable[[], Awaitable[T]],
    cancel: Callable[[T], Awaitable[object]],
    *,
    cancel_seconds: float = CANCEL_SECONDS,
    create_seconds: float = CREATE_SECONDS,
) -> RunningJob[T]:
    """A context in which a job runs; ``create`` gives what ``cancel`` needs."""
    return RunningJob(create, cancel, cancel_seconds, create_seconds)


class RunningJob(Generic[T]):
    """A job under way; ``created`` is what the create call gave."""

    def __init__(
        self,
        create: Callable[[], Awaitable[T]],
        cancel: Callable[[T], Awaitable[object]],
        cancel_seconds: float,
        create_seconds: float,
    ) -> None:
        self._create = create
        self._cancel = cancel
        self._cancel_seconds = cancel_seconds
        self._create_seconds = create_seconds
        self._ended = False
        self.created: T

    def ended(self) -> None:
        """The job has come to its own end, good or bad: nothing is left to cancel."""
        self._ended = True

    async def __aenter__(self) -> RunningJob[T]:
        creating = asyncio.ensure_future(_as_coroutine(self._create))
        try:
            self.created = await asyncio.shield(creating)
        except asyncio.CancelledError as cancelled:
            await _outlive(creating, self._create_seconds)
            if creating.cancelled():
                _log.warning("a create call got no reply and its caller left: a job may be running")
                raise
            if creating.exception() is not None:
                raise
            self.created = creating.result()
            _cancel_again(cancelled)
        except ProviderError as error:
            error.may_have_run = error.may_have_run or error.spends
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._ended:
            await self._stop(self.created)

    async def _stop(self, created: T) -> None:
        await cancel_shielded(lambda: self._cancel(created), seconds=self._cancel_seconds)


def _cancel_again(cancelled: asyncio.CancelledError) -> None:
    """At the next await of this task, and counted once: whoever cancelled it counts."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    task.cancel(*cancelled.args)


async def cancel_shielded(
    cancel: Callable[[], Awaitable[object]], *, seconds: float = CANCEL_SECONDS
) -> bool:
    """Run ``cancel`` to its end whatever happens to the caller; True when it went well.

    It may run while another error is on its way, so it raises none of its own: a failure is
    logged by its class alone. A cancellation of the caller is passed on after the work.
    """
    cancelling = asyncio.ensure_future(_as_coroutine(cancel))
    cancelled_again = await _outlive(cancelling, seconds)
    failure: str | None = None
    if cancelling.cancelled():
        failure = f"no answer in {seconds} seconds"
    elif (error := cancelling.exception()) is not None:
        failure = type(error).__name__
    if failure is not None:
        _log.warning("a job was not cancelled upstream: %s", failure)
    if cancelled_again is not None:
        raise cancelled_again
    return failure is None


async def _outlive(task: asyncio.Future[Any], seconds: float) -> asyncio.CancelledError | None:
    """Wait until ``task`` is done, or end it after ``seconds``, although the caller is cancelled.

    anyio cancels again at every await of a cancelled scope, and a plain task can be cancelled
    any number of times: the shield stops the first, waiting again the second. What was held back
    is given to the caller, who raises it when its work is done.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    held_back: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                task.cancel()
            try:
                await asyncio.wait({task}, timeout=max(left, 0.1))
            except asyncio.CancelledError as exc:
                held_back = exc
    return held_back


def backoff_seconds(
    first: float = 0.1, factor: float = 1.5, longest: float = 2.0
) -> Iterator[float]:
    """How long to wait before each further poll, for ever; deadlines are the gateway's."""
    for power in itertools.count():
        yield min(longest, first * factor ** min(power, 64))


async def _as_coroutine(call: Callable[[], Awaitable[T]]) -> T:
    return await call()
