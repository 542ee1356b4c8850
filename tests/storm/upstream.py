"""A chat upstream with bad habits that keeps an exact bill of every call.

The wire is the one of ``tests/emulators/openai_chat.py``. What a call does is drawn when it comes;
one piece of an answer is one token, and what was made until the caller left is billed, as token
providers do.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.emulators.asgi import Call, Receive, Scope, Send
from tests.storm.callers import LATE

INPUT_USD = Decimal("0.05") / 1_000_000
OUTPUT_USD = Decimal("0.08") / 1_000_000
HABITS = {  # what it does: how often
    "answers": 52,
    "answers slowly": 12,
    "hides its usage": 6,
    "fails": 8,
    "limits": 7,
    "loads": 6,
    "cuts": 6,
    "stalls": 3,
}
_LATE_SECONDS = 0.8
_NUMBER = re.compile(r"operation (\d+)")


@dataclass(slots=True)
class Bill:
    """One call as its provider bills it."""

    habit: str
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def usd(self) -> Decimal:
        return self.input_tokens * INPUT_USD + self.output_tokens * OUTPUT_USD


class StormyChat:
    """The ASGI app. ``bills``: by the number that stands in the prompt, in order of arrival."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.bills: dict[int, list[Bill]] = defaultdict(list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = await Call.of(scope, receive, send)
        body = call.body
        prompt = json.dumps(body["messages"])
        found = _NUMBER.search(prompt)
        assert found is not None, prompt
        (habit,) = self._chance.choices(list(HABITS), list(HABITS.values()))
        bill = Bill(habit)
        self.bills[int(found[1])].append(bill)
        if habit == "fails":
            return await self._refuse(call, 500, "server_error", "it broke")
        if habit == "limits":
            call.extra_headers["retry-after"] = "0.02"
            return await self._refuse(call, 429, "requests", "slow down")
        if habit == "loads":
            return await self._refuse(call, 503, "unavailable_error", "Loading model")
        bill.input_tokens = 8 + len(prompt.split())
        length = min(self._chance.randrange(4, 120), int(body.get("max_tokens") or 120))
        gone = asyncio.create_task(call.hung_up())
        try:
            if LATE in prompt:
                await asyncio.wait((gone,), timeout=_LATE_SECONDS)
            if not gone.done():
                await self._answer(call, bill, length, gone, bool(body.get("stream")))
        finally:
            gone.cancel()

    async def _answer(
        self, call: Call, bill: Bill, length: int, gone: asyncio.Task[None], stream: bool
    ) -> None:
        broken_at = self._chance.randrange(1, length + 1)
        if stream:
            await call.start(200, {"content-type": "text/event-stream"})
        said = []
        async for word in self._words(bill, length, gone):
            said.append(word)
            if stream:
                await call.piece(_chunk({"content": word}))
            if len(said) == broken_at and bill.habit == "cuts":
                raise ConnectionAbortedError("the server dies")  # uvicorn drops the connection
            if len(said) == broken_at and bill.habit == "stalls":
                await gone
        if gone.done():
            return
        usage = {
            "prompt_tokens": bill.input_tokens,
            "completion_tokens": bill.output_tokens,
            "total_tokens": bill.input_tokens + bill.output_tokens,
        }
        shown = {} if bill.habit == "hides its usage" else {"usage": usage}
        if stream:
            await call.piece(_chunk({}, "stop"))
            if shown:
                await call.piece(_frame({**_HEAD, "choices": [], **shown}))
            await call.piece(b"data: [DONE]\n\n")
            return await call.end()
        message = {"role": "assistant", "content": "".join(said)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await call.json(200, {**_HEAD, "object": "chat.completion", "choices": [choice], **shown})

    async def _words(self, bill: Bill, length: int, gone: asyncio.Task[None]) -> AsyncIterator[str]:
        pause_seconds = 0.004 if bill.habit == "answers slowly" else 0.0
        for number in range(length):
            if gone.done():
                return
            bill.output_tokens += 1
            yield f"word{number % 10} "
            await asyncio.sleep(pause_seconds)

    async def _refuse(self, call: Call, status: int, kind: str, message: str) -> None:
        await call.json(status, {"error": {"message": message, "type": kind, "code": None}})


_HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1790000000, "model": "stormy"}


def _chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return _frame({**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def _frame(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
