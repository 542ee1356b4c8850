from __future__ import annotations

import asyncio

import pytest

from gateway.limits.gate import Gate, GateFull, Waiter


def gate_of(limit: int, max_queued: int, max_queued_bytes: int = 1000) -> Gate[Waiter]:
    return Gate(limit, max_queued, max_queued_bytes)


async def enter(gate: Gate[Waiter], size_bytes: int = 0) -> None:
    if not gate.try_enter():
        waiter = Waiter(size_bytes)
        gate.join(waiter)
        await gate.wait(waiter)


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_so_many_at_once_and_the_next_waits() -> None:
    gate = gate_of(2, 10)
    assert gate.try_enter() and gate.try_enter() and not gate.try_enter()
    waiting = asyncio.create_task(enter(gate))
    await turns()
    assert not waiting.done() and gate.queued == 1
    gate.leave()
    await waiting
    assert (gate.held, gate.queued) == (2, 0)


async def test_first_come_first_served_and_nobody_overtakes() -> None:
    gate, came = gate_of(1, 10), []

    async def visit(name: str) -> None:
        await enter(gate)
        came.append(name)

    await enter(gate)
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
    gate = gate_of(1, 1)
    await enter(gate)
    waiting = asyncio.create_task(enter(gate))
    await turns()
    with pytest.raises(GateFull):
        await enter(gate)
    gate.leave()
    await waiting
    with pytest.raises(GateFull):
        await enter(gate_of(0, 0))


async def test_one_who_gives_up_waiting_leaves_no_trace() -> None:
    gate = gate_of(1, 10)
    await enter(gate)
    first, second = (asyncio.create_task(enter(gate)) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    assert gate.queued == 1
    gate.leave()
    await second
    assert gate.held == 1


async def test_one_who_gives_up_as_the_place_comes_passes_it_on() -> None:
    gate = gate_of(1, 10)
    await enter(gate)
    first, second = (asyncio.create_task(enter(gate)) for _ in range(2))
    await turns()
    gate.leave()  # goes to the first, who is cancelled before it can run
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert first.cancelled() and gate.held == 1
    gate.leave()
    assert gate.held == 0
    last = asyncio.create_task(enter(gate))
    await last
    gate.leave()
    assert gate.held == 0


async def test_the_queue_is_bounded_in_bytes_too_and_those_who_left_weigh_nothing() -> None:
    gate = gate_of(1, 10)
    await enter(gate)
    tasks = [asyncio.create_task(enter(gate, 400)) for _ in range(2)]
    await turns()
    with pytest.raises(GateFull):
        await enter(gate, 201)
    tasks[0].cancel()
    await turns()
    tasks.append(asyncio.create_task(enter(gate, 600)))
    await turns()
    gate.leave()
    await tasks[1]
    with pytest.raises(GateFull):
        await enter(gate, 401)
    gate.leave()
    await tasks[2]
    assert (gate.held, gate.queued) == (1, 0)


async def test_a_narrow_gate_lets_in_one_and_a_wide_one_all_a_few_at_a_time() -> None:
    gate = gate_of(100, 100)
    gate.narrow(1)
    await enter(gate)
    tasks = [asyncio.create_task(enter(gate)) for _ in range(50)]
    await turns()
    assert (gate.held, gate.queued) == (1, 50)
    gate.widen()
    assert 1 < gate.held < 50  # the event loop is not held up by fifty at once
    assert not gate.try_enter()  # nobody overtakes those who are about to be let in
    await asyncio.gather(*tasks)
    assert (gate.held, gate.queued) == (51, 0)
    gate.narrow(200)
    assert gate.try_enter()
