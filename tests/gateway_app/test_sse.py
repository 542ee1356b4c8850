"""The stream of events against a client that the test plays itself."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from gateway.execution.eventlog import Entry, EventLog
from gateway.http.sse import KEEP_ALIVE, EventStream, frame
from providers.contract import Delta


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\u2028", "✓ é \x00", 'quo"te', ": x", "data:"])
def test_a_frame_is_one_event_whatever_is_in_it(text: str) -> None:
    raw = frame({"text": text}, event="delta", id=7)
    head, _, said = raw.partition(b"data: ")
    assert head == b"id: 7\nevent: delta\n"
    assert said.endswith(b"\n\n") and b"\n" not in said[:-2] and b"\r" not in said
    assert orjson.loads(said) == {"text": text}


def test_a_bare_frame() -> None:
    assert frame([1]) == b"data: [1]\n\n"


async def nothing() -> None:
    pass


class Client:
    """What the server sends; ``leave`` is hanging up."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self.reads: Callable[[], Awaitable[object]] = nothing

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


class Served:
    """An event stream that a client is being sent."""

    def __init__(
        self, keep_alive_seconds: float = 60.0, render: Any = None, seconds: float = math.inf
    ) -> None:
        self.log = EventLog(1 << 20)
        self.client = Client()
        self.gone = 0
        self.until = asyncio.get_running_loop().time() + seconds
        stream = EventStream(
            self.log,
            render=render or self.render,
            finish=lambda: b"END",
            gone=self.leave,
            keep_alive_seconds=keep_alive_seconds,
            cut=self.cut,
            cut_at=self.until,
            first=b"FIRST",
            headers={"x-request-id": "gen_1"},
        )
        self.task = asyncio.create_task(stream({}, self.client.receive, self.client.send))

    def render(self, batch: list[Entry]) -> bytes:
        return b"".join(e.event.text.encode() for e in batch if isinstance(e.event, Delta))

    def leave(self) -> None:
        self.gone += 1

    def cut(self) -> bytes:
        return b"CUT" if asyncio.get_running_loop().time() >= self.until else b""

    def say(self, text: str) -> None:
        self.log.append(0.0, "att_1", Delta(text))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_send_for_all_that_has_come() -> None:
    served = Served()
    await turns()
    for text in ("a", "b", "c"):
        served.say(text)
    await turns()
    served.log.close()
    await served.task
    start, *bodies = served.client.sent
    assert start["status"] == 200 and (b"x-request-id", b"gen_1") in start["headers"]
    assert [message["body"] for message in bodies] == [b"FIRST", b"abc", b"END"]
    assert [message["more_body"] for message in bodies] == [True, True, False]
    assert served.gone == 0


async def test_one_who_leaves_is_noticed_while_nothing_is_said() -> None:
    served = Served()
    await turns()
    served.client.left.set()
    await asyncio.wait_for(served.task, 1)
    assert served.gone == 1 and b"END" not in served.client.body


async def test_a_comment_after_each_silence() -> None:
    served = Served(keep_alive_seconds=0.02)
    await asyncio.sleep(0.05)
    assert 1 <= served.client.body.count(KEEP_ALIVE) <= 2
    served.log.close()
    await served.task
    assert served.client.body.startswith(b"FIRST" + KEEP_ALIVE)


async def test_output_puts_the_comment_off() -> None:
    served = Served(keep_alive_seconds=0.04)
    for _ in range(6):
        await asyncio.sleep(0.015)
        served.say("a")
    served.log.close()
    await served.task
    assert served.client.body == b"FIRST" + b"a" * 6 + b"END"


async def test_an_answer_that_cannot_go_on_is_stopped() -> None:
    def broken(batch: list[Entry]) -> bytes:
        raise TypeError("cannot be written as JSON")

    served = Served(render=broken)
    await turns()
    served.say("a")
    with pytest.raises(TypeError):
        await served.task
    assert served.gone == 1 and not served.log._followers


async def test_a_cancelled_answer_is_stopped() -> None:
    served = Served()
    await turns()
    served.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await served.task
    assert served.gone == 1 and not served.log._followers


async def test_time_ends_for_one_who_is_never_out_of_things_to_read() -> None:
    served = Served(seconds=0.05)

    async def reads() -> None:
        served.say("a")  # there is more whenever a part has been read
        await asyncio.sleep(0)

    served.client.reads = reads
    await asyncio.wait_for(served.task, 5)
    assert served.client.body.endswith(b"aCUT") and served.gone == 0


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_time_ends_for_one_who_does_not_read(hangs_up: bool) -> None:
    """It holds nobody up any more, and hears the rest without a gap once it does read."""
    served = Served(seconds=0.05)
    await turns()
    reads = asyncio.Event()
    served.client.reads = reads.wait
    served.say("a" * 100)
    await turns()
    served.say("b" * (2 << 20))  # more than the log holds for it
    room = asyncio.create_task(served.log.room())
    await asyncio.wait_for(room, 5)
    assert served.client.body == b"FIRST" and not served.log._followers
    if hangs_up:
        served.client.left.set()
        await turns()
    assert served.gone == 0  # it was sent away, and is not counted out a second time
    reads.set()
    await served.task
    assert served.client.body == b"FIRST" + b"a" * 100 + b"CUT"
    assert [m for m in served.client.sent if not m.get("more_body", True)]
