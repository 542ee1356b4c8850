"""The emulated Replicate's webhooks: signed, repeated where they are not taken.

Our reading of https://replicate.com/docs/topics/webhooks/receive-webhook, of .../verify-webhook and
of the changelog of 2023-02-10: ``start`` is always sent and never repeated; the last message of a
prediction is repeated after anything but a 2xx, at growing pauses, for about a minute. The pauses
here begin shorter. Addresses are https; redirects are not followed. Read 2026-11-26.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.emulators.replicate_world import Made, World

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
EVENTS = {"start", "output", "logs", "completed"}
PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


@dataclass(frozen=True, slots=True)
class Post:
    """One message on its way once; ``status`` None: nobody was there."""

    id: str
    event: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int | None


class Hooks:
    """Posts for one emulator. ``secret`` may be changed, as an account's can."""

    def __init__(self) -> None:
        self.secret = SECRET
        self.leads_to: dict[str, str] = {}  # a public origin -> where that really is
        self.lost = 0  # so many messages to come reach nobody
        self.posts: list[Post] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    def wrong(body: Mapping[str, Any]) -> str | None:
        """What a create call asks for amiss."""
        url, events = body.get("webhook"), body.get("webhook_events_filter", [])
        if url is not None and (not isinstance(url, str) or urlsplit(url).scheme != "https"):
            return "webhook: must be an HTTPS URL"
        if not isinstance(events, list) or not set(events) <= EVENTS:
            return "webhook_events_filter: unknown event"
        return None

    def plan(
        self, world: World, made: Made, body: Mapping[str, Any], show: Callable[[Made], Any]
    ) -> None:
        """What a prediction was asked to post, from now on."""
        if body.get("webhook") is None:
            return
        told = {name: body[name] for name in ("webhook", "webhook_events_filter") if name in body}
        task = asyncio.get_running_loop().create_task(
            self._follow(world, made, str(body["webhook"]), lambda: show(made) | told)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, world: World, made: Made, url: str, show: Callable[[], Any]) -> None:
        await self._post(url, "start", f"msg_{made.id}_start", json.dumps(show()).encode())
        await world.until(lambda: made.completed)
        message_id, body = f"msg_{made.id}_end", json.dumps(show()).encode()
        for pause in (*PAUSES_SECONDS, 0.0):
            status = await self._post(url, "completed", message_id, body)
            if status is not None and 200 <= status < 300:
                return
            await asyncio.sleep(pause)

    async def _post(self, url: str, event: str, message_id: str, body: bytes) -> int | None:
        headers = self.signed(message_id, body)
        status = None
        if self.lost:
            self.lost -= 1
        else:
            status = await self.send(url, headers, body)
        self.posts.append(Post(message_id, event, url, headers, body, status))
        return status

    def signed(self, message_id: str, body: bytes, sent_at: float | None = None) -> dict[str, str]:
        """The headers of a message, by the real clock."""
        stamp = str(int(time.time() if sent_at is None else sent_at))
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        digest = hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int | None:
        """One request, by the public name; None: it leads nowhere now."""
        parts = urlsplit(url)
        place = self.leads_to.get(f"{parts.scheme}://{parts.netloc}")
        if place is None:
            return None
        try:
            async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
                sent = {**headers, "host": parts.netloc}
                return (
                    await client.post(place + parts.path, content=body, headers=sent)
                ).status_code
        except httpx.HTTPError:
            return None
