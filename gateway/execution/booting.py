"""Having a deployment boot without any work, and waiting until it says that it is up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from providers.contract import (
    Booting,
    Deployment,
    Event,
    ModelLoading,
    Probeable,
    ProbeState,
    Warmable,
)

# Of a boot that is only seen by asking again, the end is known to one pause: a twentieth of the
# wait so far, or the shortest.
PAUSE_SHARE: Final = 1 / 20
_SOONEST_SECONDS: Final = 1.0
_LATEST_SECONDS: Final = 60.0  # SDKs take no notice of a longer ``Retry-After``
_USUAL_SECONDS: Final = 5.0
_SHORTEST_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 2.0


def loading_pause_seconds(waited_seconds: float) -> float:
    """Before one that boots is asked again."""
    return min(max(waited_seconds * PAUSE_SHARE, _SHORTEST_SECONDS), _LONGEST_SECONDS)


def come_back_seconds(left_seconds: float | None) -> float:
    """When to ask again for what boots so much longer, in whole seconds; None: nobody knows."""
    left_seconds = _USUAL_SECONDS if left_seconds is None else left_seconds
    return float(math.ceil(min(_LATEST_SECONDS, max(_SOONEST_SECONDS, left_seconds))))


def can_boot_alone(deployment: Deployment) -> bool:
    """Whether it can be booted without work, and says when it is up."""
    return isinstance(deployment, Warmable) and isinstance(deployment, Probeable)


async def boot(
    deployment: Deployment,
    tell: Callable[[Event], None],
    others_wait: Callable[[], bool] = lambda: False,
) -> ProbeState:
    """Wait until it is up, having it boot where it does not. Raises ProviderError.

    Returns what it said last: ``ready``, or ``unknown`` where it is taken at the word of ``warm``.
    ``tell`` hears of the boot, with what was read before it as its evidence. The caller bounds it.
    Who leaves ends the boot where the deployment ends boots; not where ``others_wait`` then, who
    have not asked the deployment themselves.
    """
    assert isinstance(deployment, Warmable) and isinstance(deployment, Probeable)
    state = await deployment.probe()
    if state == "ready":
        return state
    tell(_boot_seen_in(state))
    begun_at = asyncio.get_running_loop().time()
    warming = asyncio.create_task(deployment.warm())
    try:
        await asyncio.wait({warming})
        warming.result()
    except asyncio.CancelledError:
        await _left(warming, goes_on=deployment.capabilities.ends_boots and others_wait())
        raise
    except ModelLoading:
        pass  # it boots, and says so
    while (state := await _state_of(deployment)) in ("down", "booting"):
        waited_seconds = asyncio.get_running_loop().time() - begun_at
        await asyncio.sleep(loading_pause_seconds(waited_seconds))
    return state


_left_behind: Final[set[asyncio.Task[None]]] = set()


async def _left(warming: asyncio.Task[None], *, goes_on: bool) -> None:
    """Its caller has left."""
    warming.add_done_callback(lambda task: task.cancelled() or task.exception())
    if goes_on:  # the event loop holds no task for whoever lets go of it
        _left_behind.add(warming)
        warming.add_done_callback(_left_behind.discard)
        return
    warming.cancel()
    await asyncio.wait({warming})


def _boot_seen_in(state: ProbeState) -> Booting:
    if state == "unknown":
        return Booting("latency_only")
    return Booting("scale_state", caused_boot=state == "down")


async def _state_of(deployment: Probeable) -> ProbeState:
    try:
        return await deployment.probe()
    except ModelLoading:
        return "booting"
