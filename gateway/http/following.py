"""A handler and its run: wait for it, and tell it when the caller is not there any more."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from gateway.execution.run import Run
from gateway.http.body import ClientGone
from gateway.http.patience import Waiting
from providers.contract import Delta, Output

# Most answers come sooner than this; only for the others is a task spent on listening for a
# hang-up (FastAPI cancels no unstreamed handler when the client leaves).
_LISTEN_AFTER_SECONDS = 0.05


async def until_done(waiting: Waiting, request: Request) -> bool:
    """Wait for the end of a run, as long as its caller does; False: it has not ended.

    One who did not say by ``Prefer`` how long is kept waiting past its patience, unless for a boot.
    Raises ClientGone, after the run has been told. (``asyncio.wait`` with a timeout does the first
    part as well, at three times the cost.)
    """
    run, patience = waiting.run, waiting.patience
    loop = asyncio.get_running_loop()
    soon: asyncio.Future[None] = loop.create_future()

    def ring(_: object = None) -> None:
        if not soon.done():
            soon.set_result(None)

    run.task.add_done_callback(ring)
    timer = loop.call_later(_LISTEN_AFTER_SECONDS, ring)
    try:
        await soon
    finally:
        timer.cancel()
        run.task.remove_done_callback(ring)
    if run.task.done():
        return True
    own, or_late = waiting.deadline_seconds, not waiting.joined
    for seconds in sorted({x for x in (patience.seconds, own) if x is not None}):
        spent = run.clock.monotonic() - waiting.began_at
        waited = run.wait(max(0.0, seconds - spent), or_late=or_late)
        await _first_of(run, request, asyncio.create_task(waited))
        if run.task.done():
            return True
        if patience.preferred is not None or run.waits_for_boot or seconds == own:
            return False
    await _first_of(run, request, asyncio.create_task(run.wait(or_late=or_late)))
    return run.task.done()


async def until_output(waiting: Waiting, request: Request, seconds: float) -> None:
    """Wait until a run has output, has ended, or ``seconds`` or its caller's time have passed.

    Raises ClientGone.
    """
    run = waiting.run
    await _first_of(run, request, asyncio.create_task(_output(waiting, seconds)))


async def _first_of(run: Run, request: Request, awaited: asyncio.Task[None]) -> None:
    gone = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait((awaited, gone), return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not awaited.done():
            run.leave()
            raise ClientGone
    finally:
        gone.cancel()
        awaited.cancel()


async def _output(waiting: Waiting, seconds: float) -> None:
    run, loop = waiting.run, asyncio.get_running_loop()
    follower = run.log.follow()
    late = False

    def ring() -> None:  # asked for the time, uvloop's clock may be short of it by a rounding
        nonlocal late
        late = True
        follower.wake()

    timer = loop.call_later(min(seconds, waiting.deadline_seconds or seconds), ring)
    try:
        while not (late or run.log.closed or waiting.over):
            if any(isinstance(entry.event, Delta | Output) for entry in follower.take()):
                return
            await follower.wait()
    finally:
        timer.cancel()
        follower.leave()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
