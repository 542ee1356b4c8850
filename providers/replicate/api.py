"""The calls that are made at Replicate. Each is sent once; the token goes nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from providers.contract import (
    Http,
    HttpResponse,
    ModelNotFound,
    ProtocolViolation,
    RequestRejected,
    UpstreamFailed,
)
from providers.replicate.errors import ERROR_BODY_BYTES, refusal
from providers.replicate.options import ReplicateSettings
from providers.replicate.prediction import Prediction, parse

CALL_SECONDS = 30.0  # for a call that is not held open on purpose
MAX_ANSWER_BYTES = 64 << 20
SCHEMA_SECONDS = 3.0  # a request may wait for it
MAX_SCHEMA_BYTES = 4 << 20
# Besides the API's own origin: where streams and files are (reference, and urls of real answers).
_STREAM_HOSTS = ("replicate.com", "replicate.delivery")


class Api:
    """Replicate's HTTP API, as far as predictions need it."""

    def __init__(self, http: Http, settings: ReplicateSettings) -> None:
        self._http = http
        self._settings = settings

    async def create(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str], hold_seconds: float
    ) -> Prediction:
        """Make a prediction; the answer may be held back for ``hold_seconds``."""
        raw, seen_at = await self._call("POST", path, body, headers, hold_seconds)
        return parse(raw, seen_at)

    async def get(self, prediction_id: str) -> Prediction | None:
        """Look at a prediction; None: Replicate knows no such."""
        path = f"/predictions/{quote(prediction_id, safe='')}"
        try:
            raw, seen_at = await self._call("GET", path)
        except ModelNotFound:
            return None
        return parse(raw, seen_at)

    async def page(self, query: str) -> bytes:
        """One page of the account's predictions, as it came."""
        raw, _ = await self._call("GET", f"/predictions?{query}")
        return raw

    async def cancel(self, prediction_id: str) -> None:
        """End a prediction; one that has ended already stays as it is."""
        await self._call("POST", f"/predictions/{quote(prediction_id, safe='')}/cancel")

    async def schema(self, path: str) -> dict[str, Any]:
        """A model or a version of one, with its schema; not waited for as long as for others."""
        raw, _ = await self._call(
            "GET", path, read_seconds=SCHEMA_SECONDS, most_bytes=MAX_SCHEMA_BYTES
        )
        return _object(raw)

    async def webhook_secret(self) -> str:
        """What the account's webhooks are signed with."""
        raw, _ = await self._call("GET", "/webhooks/default/secret")
        key = _object(raw).get("key")
        if not isinstance(key, str) or not key:
            raise UpstreamFailed("Replicate does not tell the secret of its webhooks.")
        return key

    async def scale(self, deployment: str, bounds: Mapping[str, int]) -> None:
        """Change how many machines a deployment keeps; this makes a new release of it."""
        await self._call("PATCH", f"/deployments/{deployment}", bounds)

    def stream(self, url: str, last_id: str) -> AbstractAsyncContextManager[HttpResponse]:
        """Open a prediction's stream, after ``last_id`` where something was read already."""
        headers = {
            **self._authorization(),
            "accept": "text/event-stream",
            "cache-control": "no-store",
        }
        if last_id:
            headers["last-event-id"] = last_id
        return self._http.send("GET", url, headers=headers)

    def trusted(self, url: str) -> bool:
        """Whether the token may be sent there: the API's own origin, or Replicate by https."""
        try:
            asked, own = urlsplit(url), urlsplit(self._settings.base_url)
            if (asked.scheme, asked.hostname, asked.port) == (own.scheme, own.hostname, own.port):
                return True
            host = asked.hostname or ""
            return (
                asked.scheme == "https"
                and asked.port in (None, 443)
                and any(host == name or host.endswith(f".{name}") for name in _STREAM_HOSTS)
            )
        except ValueError:
            return False

    def _authorization(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._settings.api_token.get_secret_value()}"}

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        hold_seconds: float = 0.0,
        *,
        read_seconds: float = CALL_SECONDS,
        most_bytes: int = MAX_ANSWER_BYTES,
    ) -> tuple[bytes, datetime | None]:
        sent = {**self._authorization(), **(headers or {})}
        content = None
        if body is not None:
            sent["content-type"] = "application/json"
            content = _encoded(body)
        async with self._http.send(
            method,
            self._settings.base_url + path,
            headers=sent,
            content=content,
            read_timeout_seconds=read_seconds + hold_seconds,
        ) as answer:
            if not 200 <= answer.status < 300:
                raise refusal(answer.status, answer.headers, await answer.read(ERROR_BODY_BYTES))
            return await answer.read(most_bytes), _date(answer.headers)


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise RequestRejected("The input cannot be said in JSON.", param="input") from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ProtocolViolation("Replicate's answer is no object.")
    return value


def _date(headers: Mapping[str, str]) -> datetime | None:
    """When they answered, by their own clock; whole seconds, cut."""
    try:
        read = parsedate_to_datetime(headers.get("date") or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
