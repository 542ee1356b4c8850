from __future__ import annotations

import asyncio

import pytest

from gateway.execution.eventlog import EventLog, Follower, size_bytes
from providers.contract import Delta, Event, Output, Queued


def texts(follower: Follower) -> list[str]:
    return [entry.event.text for entry in follower.take() if isinstance(entry.event, Delta)]


def log_of(*said: str, cap_bytes: int = 1000) -> EventLog:
    log = EventLog(cap_bytes)
    for text in said:
        log.append(0.0, "att_1", Delta(text))
    return log


def big(text: str) -> Delta:
    return Delta(text * 400)  # 200 bytes of housekeeping and 400 of text


async def soon(task: asyncio.Task[None]) -> bool:
    """Whether a task ends when the loop has had a few turns."""
    for _ in range(3):
        await asyncio.sleep(0)
    return task.done()


async def test_followers_read_all_each_at_its_own_pace() -> None:
    log = log_of("a", "b")
    early = log.follow()
    assert texts(early) == ["a", "b"] and texts(early) == []
    log.append(1.0, "att_1", Delta("c"))
    late = log.follow()
    assert texts(late) == ["a", "b", "c"] and texts(early) == ["c"]


async def test_entries_are_numbered_and_stamped() -> None:
    log = EventLog(1000)
    log.append(1.5, "att_1", Queued())
    log.append(2.5, "att_2", Delta("x"))
    entries = log.follow().take()
    assert [(entry.seq, entry.at, entry.attempt_id) for entry in entries] == [
        (1, 1.5, "att_1"),
        (2, 2.5, "att_2"),
    ]


async def test_waiting_ends_with_the_next_entry_the_end_or_a_call() -> None:
    log = EventLog(1000)
    follower = log.follow()

    def grow() -> None:
        log.append(0, "a", Queued())

    for end in (grow, follower.wake, log.close):
        task = asyncio.create_task(follower.wait())
        assert not await soon(task)
        end()
        assert await soon(task)
        follower.take()
    assert await soon(asyncio.create_task(follower.wait()))  # a closed log does not wait


async def test_the_writer_waits_for_the_slowest_follower() -> None:
    log = EventLog(1000)
    quick, slow = log.follow(), log.follow()
    for text in "abc":
        log.append(0, "a", big(text))
        quick.take()
    assert log.full
    room = asyncio.create_task(log.room())
    assert not await soon(room)
    quick.take()
    assert not await soon(room)
    assert [entry.seq for entry in slow.take()] == [1, 2, 3]  # held back, not lost
    assert await soon(room) and not log.full


async def test_one_who_leaves_holds_nobody_back() -> None:
    log = EventLog(1000)
    slow = log.follow()
    for text in "abc":
        log.append(0, "a", big(text))
    room = asyncio.create_task(log.room())
    assert not await soon(room)
    slow.leave()
    assert await soon(room)


async def test_without_followers_old_entries_go_and_numbers_go_on() -> None:
    log = EventLog(1000)
    for text in "abcdefg":
        log.append(0, "a", big(text))
        assert not log.full
    assert [entry.seq for entry in log.follow().take()] == [7]


async def test_what_all_have_read_costs_no_memory() -> None:
    log = EventLog(10_000)
    follower = log.follow()
    for _ in range(1000):
        log.append(0, "a", big("x"))
        follower.take()
    assert len(log._entries) <= 10_000 // 600 + 1


@pytest.mark.parametrize(
    ("event", "least"),
    [
        (Delta("x" * 1000), 1000),
        (Delta("x" * 1000, native=({"choices": []},)), 3000),  # the frame says it again
        (Output("image", data=b"x" * 5000), 5000),
        (Output("text", value="x" * 5000), 5000),
    ],
)
def test_what_an_event_weighs(event: Event, least: int) -> None:
    assert least <= size_bytes(event) < 2 * least
