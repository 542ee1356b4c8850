"""A handler and its run: wait for it, and tell it when the caller is not there any more."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from gateway.execution import Run
from gateway.http.body import ClientGone
from gateway.http.patience import FOR_EVER, Patience
from providers.contract import Delta, Output

# Most answers come sooner than this; only for the others is a task spent on listening for a
# hang-up (FastAPI cancels no unstreamed handler when the client leaves).
_LISTEN_AFTER_SECONDS = 0.05


async def until_done(run: Run, request: Request, patience: Patience = FOR_EVER) -> bool:
    """Wait for the end of a run, as long as its caller does; False: it has not ended.

    One who did not say by ``Prefer`` how long is kept waiting past that, unless for a boot.
    Raises ClientGone, after the run has been told. (``asyncio.wait`` with a timeout does the first
    part as well, at three times the cost.)
    """
    begun_at = run.clock.monotonic()
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
    seconds = patience.seconds
    if seconds is not None:
        spent = run.clock.monotonic() - begun_at
        waited = asyncio.create_task(_so_long(run, max(0.0, seconds - spent)))
        await _first_of(run, request, waited)
        if run.task.done() or patience.preferred is not None or run.waits_for_boot:
            return run.task.done()
    await _first_of(run, request, asyncio.create_task(run.wait()))
    return True


async def until_output(run: Run, request: Request, seconds: float) -> None:
    """Wait until a run has output, has ended, or ``seconds`` have passed. Raises ClientGone."""
    await _first_of(run, request, asyncio.create_task(_output(run, seconds)))


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


async def _so_long(run: Run, seconds: float) -> None:
    await asyncio.wait((run.task,), timeout=seconds)


async def _output(run: Run, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    follower = run.log.follow()
    late = False

    def ring() -> None:  # asked for the time, uvloop's clock may be short of it by a rounding
        nonlocal late
        late = True
        follower.wake()

    timer = loop.call_later(seconds, ring)
    try:
        while not (late or run.log.closed):
            if any(isinstance(entry.event, Delta | Output) for entry in follower.take()):
                return
            await follower.wait()
    finally:
        timer.cancel()
        follower.leave()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
