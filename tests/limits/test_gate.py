from __future__ import annotations

import asyncio

import pytest

from gateway.limits.gate import Gate, GateFull


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_so_many_at_once_and_the_next_waits() -> None:
    gate = Gate(2, 10)
    assert gate.try_enter() and gate.try_enter() and not gate.try_enter()
    waiting = asyncio.create_task(gate.enter())
    await turns()
    assert not waiting.done() and gate.queued == 1
    gate.leave()
    await waiting
    assert (gate.held, gate.queued) == (2, 0)


async def test_first_come_first_served_and_nobody_overtakes() -> None:
    gate, came = Gate(1, 10), []

    async def visit(name: str) -> None:
        await gate.enter()
        came.append(name)

    await gate.enter()
    tasks = [asyncio.create_task(visit(name)) for name in "abc"]
    await turns()
    gate.leave()
    assert not gate.try_enter()  # the place is promised already
    for _ in tasks:
        await turns()
        gate.leave()
    await asyncio.gather(*tasks)
    assert came == ["a", "b", "c"] and gate.held == 0


async def test_a_full_queue_is_refused_at_once() -> None:
    gate = Gate(1, 1)
    await gate.enter()
    waiting = asyncio.create_task(gate.enter())
    await turns()
    with pytest.raises(GateFull):
        await gate.enter()
    gate.leave()
    await waiting
    with pytest.raises(GateFull):
        await Gate(0, 0).enter()


async def test_one_who_gives_up_waiting_leaves_no_trace() -> None:
    gate = Gate(1, 10)
    await gate.enter()
    first, second = (asyncio.create_task(gate.enter()) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    assert gate.queued == 1
    gate.leave()
    await second
    assert gate.held == 1


async def test_one_who_gives_up_as_the_place_comes_passes_it_on() -> None:
    gate = Gate(1, 10)
    await gate.enter()
    first, second = (asyncio.create_task(gate.enter()) for _ in range(2))
    await turns()
    gate.leave()  # goes to the first, who is cancelled before it can run
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert first.cancelled() and gate.held == 1
    gate.leave()
    assert gate.held == 0
    last = asyncio.create_task(gate.enter())
    await last
    gate.leave()
    assert gate.held == 0
