"""Replicate's messages that a prediction has ended: asked for, checked, and told to whoever waits.

A message only wakes. What came of the prediction is read from the prediction itself, as it is
without a message, so that nothing is told in another way or twice. Of one that nobody follows any
more, stamps and metrics are kept for the ``lookup`` that settles it. Streams are not woken: they
end by themselves.

Source: https://replicate.com/docs/reference/webhooks and /docs/topics/webhooks/verify-webhook (read
2026-11-23): the body is what GET of the prediction says; ``start`` may come although only
``completed`` was asked for; failed posts are repeated. The signature is checked by the toolkit and
not by ``Webhooks.validate`` of the ``replicate`` SDK, which takes 0.4 s and 17 MB to import, needs
the package, and answers some headers with errors that are none of its own; the tests hold the two
against each other.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from providers.contract import ProviderError, UpstreamFailed, WebhookRejected
from providers.replicate.api import Api
from providers.replicate.options import ReplicateSettings
from providers.replicate.prediction import Prediction, parse
from providers.toolkit.webhooks import verify

MOST_KEPT = 1000
MOST_ERROR_CHARACTERS = 2000
ASKED_AGAIN_AFTER = timedelta(minutes=1)


class Bell:
    """Rung when a message says that a prediction has ended. ``heard``: no more need be said."""

    def __init__(self) -> None:
        self.heard = False
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def sleep(self, seconds: float) -> bool:
        """For so long, or until it rings; whether it rang."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True


class Webhooks:
    """Of one account. Without an address of ours nothing is asked for, and nothing is taken."""

    def __init__(self, api: Api, settings: ReplicateSettings, path: str) -> None:
        self.asked_for: dict[str, Any] = {}  # goes along when a prediction is made
        if settings.webhook_base_url is not None:
            self.asked_for["webhook"] = settings.webhook_base_url + path
            self.asked_for["webhook_events_filter"] = ["completed"]
        given = settings.webhook_secret
        self._secret = _Secret(api, None if given is None else given.get_secret_value())
        self._bells: dict[str, Bell] = {}
        # What was told last of predictions that have ended; None: nobody need know any more.
        self._ended: OrderedDict[str, Prediction | None] = OrderedDict()

    @contextmanager
    def following(self, prediction_id: str) -> Iterator[Bell]:
        """A bell for one prediction; it may have been told of before anybody here knew its id."""
        bell = Bell()
        if not self.asked_for:
            yield bell
            return
        self._bells[prediction_id] = bell
        if prediction_id in self._ended:
            bell.ring()
        try:
            yield bell
        finally:
            del self._bells[prediction_id]
            if bell.heard:
                self._keep(prediction_id, None)

    def told(self, prediction_id: str) -> Prediction | None:
        """What a message said of one that has ended, once; it has no output."""
        found = self._ended.get(prediction_id)
        if found is not None:
            self._keep(prediction_id, None)
        return found

    async def notified(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str | None:
        """Take a message in, as ``Notifiable`` says."""
        if not self.asked_for:
            raise WebhookRejected("nobody asked for any: webhook_base_url is not set")
        secret = await self._secret.known(now)
        try:
            verify(headers, body, secret, now)
        except WebhookRejected:
            newer = await self._secret.newer(secret, now)
            if newer is None:
                raise
            verify(headers, body, newer, now)
        seen = parse(body, None)
        if not seen.ended:
            return None
        bell, new = self._bells.get(seen.id), seen.id not in self._ended
        if new:
            self._keep(seen.id, _without_output(seen))
        if bell is not None:
            bell.ring()
            return None
        return seen.id if new else None

    def _keep(self, prediction_id: str, seen: Prediction | None) -> None:
        self._ended[prediction_id] = seen
        self._ended.move_to_end(prediction_id)
        if len(self._ended) > MOST_KEPT:
            self._ended.popitem(last=False)


class _Secret:
    """What the account's messages are signed with: as given, or as Replicate tells it.

    It is asked for when the first message comes, and not more often than once in a minute, whatever
    comes from whomever.
    """

    def __init__(self, api: Api, given: str | None) -> None:
        self._api = api
        self._given = given
        self._told: str | None = None
        self._asked_at: datetime | None = None
        self._asking = asyncio.Lock()

    async def known(self, now: datetime) -> str:
        """Raises ProviderError where it is not known and cannot be asked for now."""
        if self._given is not None:
            return self._given
        async with self._asking:
            if self._told is None:
                await self._ask(now)
            assert self._told is not None
            return self._told

    async def newer(self, known: str, now: datetime) -> str | None:
        """Another one than ``known``, where it has been changed at Replicate."""
        if self._given is not None:
            return None
        async with self._asking:
            if self._told == known:
                try:
                    await self._ask(now)
                except ProviderError:
                    return None
            return None if self._told == known else self._told

    async def _ask(self, now: datetime) -> None:
        if self._asked_at is not None and abs(now - self._asked_at) < ASKED_AGAIN_AFTER:
            raise UpstreamFailed("The secret of webhooks was asked for a moment ago.")
        self._asked_at = now
        self._told = await self._api.webhook_secret()


def _without_output(seen: Prediction) -> Prediction:
    error = seen.error[:MOST_ERROR_CHARACTERS] if isinstance(seen.error, str) else None
    return seen.model_copy(update={"output": None, "urls": None, "error": error})
