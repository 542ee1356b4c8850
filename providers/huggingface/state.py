"""What Hugging Face's management API knows about a dedicated endpoint, and how to ask it.

Sources, read 2026-11-23: huggingface_hub 2.4.0 ``_inference_endpoints.py`` (states, fields) and
``hf_api.py`` (GET and PUT ``/endpoint/{namespace}/{name}``);
https://huggingface.co/docs/inference-endpoints/guides/autoscaling (2026-08-20).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from providers.contract import Http, ProbeState, ProviderError, ProviderRetired
from providers.huggingface.errors import PAUSED
from providers.huggingface.wire import Wire

READ_TIMEOUT_SECONDS = 10.0
SCALED_TO_ZERO = "scaledToZero"
_MAX_BYTES = 1 << 20
_STARTING = frozenset({"pending", "initializing"})
_PROBED: Mapping[str, ProbeState] = {
    "running": "ready",
    SCALED_TO_ZERO: "down",
    "paused": "down",
    "failed": "down",
    "pending": "booting",
    "initializing": "booting",
    # updating, updateFailed: the old replica may serve, or may be gone
}
_STOPPED = {
    "paused": PAUSED,
    "failed": "The endpoint failed to start; its log at Hugging Face says why.",
}
_FAILED_UPDATE = "The endpoint's update failed; its log at Hugging Face says why."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint at one moment; ``name`` is the API's own word, a new one included."""

    name: str
    revision: str | None = None

    @property
    def is_running(self) -> bool:
        return self.name == "running"

    @property
    def is_down_or_starting(self) -> bool:
        """A request must wait until a replica is up. (Paused ones never come up.)"""
        return self.name == SCALED_TO_ZERO or self.name in _STARTING

    @property
    def is_starting(self) -> bool:
        return self.name in _STARTING

    @property
    def probe(self) -> ProbeState:
        return _PROBED.get(self.name, "unknown")


class Management:
    """One endpoint, as the management API sees it. Nothing here wakes it."""

    def __init__(self, http: Http, url: str, headers: Mapping[str, str]) -> None:
        self._http = http
        self._url = url
        self._headers = headers

    async def read(self) -> EndpointState | None:
        """The state now; None where it could not be had, which fails no request."""
        wire = Wire(self._http, read_timeout_seconds=READ_TIMEOUT_SECONDS)
        try:
            async with wire.send("GET", self._url, headers=self._headers) as answer:
                body = orjson.loads(await answer.read(_MAX_BYTES))
        except (ProviderError, orjson.JSONDecodeError) as error:
            _log.debug("the state of an endpoint could not be read: %s", type(error).__name__)
            return None
        name = _inside(body, "status", "state")
        revision = _inside(body, "model", "revision")
        return EndpointState(name, revision or None) if name else None

    async def scale(self, minimum: int, maximum: int | None) -> None:
        """Keep between ``minimum`` and ``maximum`` replicas. Raises ValueError or ProviderError."""
        if minimum < 0 or (maximum is not None and maximum < max(1, minimum)):
            raise ValueError("replicas: 0 <= minimum <= maximum, and maximum at least 1")
        scaling = {"minReplica": minimum}
        if maximum is not None:
            scaling["maxReplica"] = maximum
        content = orjson.dumps({"compute": {"scaling": scaling}})
        headers = {"content-type": "application/json", **self._headers}
        wire = Wire(self._http, read_timeout_seconds=READ_TIMEOUT_SECONDS)
        async with wire.send("PUT", self._url, headers=headers, content=content) as answer:
            await answer.read(_MAX_BYTES)


def stopped(state: EndpointState | None, *, refused: bool = False) -> ProviderError | None:
    """The operator's error for an endpoint that no request will wake; None for all others.

    ``refused``: a request has just been refused, so that a failed update is the reason.
    """
    if state is None:
        return None
    detail = _STOPPED.get(state.name)
    if detail is None and refused and state.name == "updateFailed":
        detail = _FAILED_UPDATE
    return ProviderRetired(detail) if detail is not None else None


class Boots:
    """Whose boot is it? Of all who wait for one, the first that found the endpoint asleep.

    The state may still read ``scaledToZero`` for a moment after the request that wakes it, so a
    second caller then did not cause another boot. One that reads it after the boot was seen did.
    """

    def __init__(self) -> None:
        self._woken = False
        self._seen_starting = False

    def found(self, state: EndpointState, *, before_call: bool = True) -> bool | None:
        """Take in a state, at once; whether the call that found it causes the boot.

        None: nothing boots, or it cannot be known. ``before_call``: it was read before the call,
        so that a boot under way is somebody else's.
        """
        if state.name == SCALED_TO_ZERO:
            if self._woken and not self._seen_starting:
                return False
            self._woken, self._seen_starting = True, False
            return True
        if state.is_starting:
            known = before_call or self._woken
            self._woken = self._seen_starting = True
            return False if known else None
        if state.is_running:
            self.over()
        return None

    def over(self) -> None:
        """A replica is up."""
        self._woken = self._seen_starting = False


def _inside(body: Any, outer: str, inner: str) -> str | None:
    part = body.get(outer) if isinstance(body, Mapping) else None
    value = part.get(inner) if isinstance(part, Mapping) else None
    return value if isinstance(value, str) else None
