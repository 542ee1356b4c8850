"""How long a caller waits, as far as it says so: ``Prefer``, and the SDKs' own headers.

``Prefer: respond-async`` and ``wait=N`` (RFC 7240) get 202 and an operation to poll; nobody else
does, since a 202 without an answer breaks the SDKs. SDKs made with Stainless (OpenAI's among them)
name their read timeout and count their retries: one that waits for a boot hears 503 just before it
would hang up, and when to come back; its retry joins the operation that goes on meanwhile.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response

from gateway.clock import rfc3339
from gateway.execution import Run
from gateway.http.errors import HttpError, error_response
from gateway.http.json import json_response
from gateway.operation import Order

RETRY_COUNT, READ_TIMEOUT = "x-stainless-retry-count", "x-stainless-read-timeout"
_LONGEST_WAIT_SECONDS = 3600
_LARGEST_BODY_BYTES = 1 << 20  # a larger one is not compared: hashing it would hold up the others
_PREFERENCE = re.compile(r"respond-async|wait=(\d{1,4})")
_USUAL_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """``seconds`` None: for ever. ``preferred``: it was asked for in a ``Prefer`` header."""

    seconds: float | None = None
    preferred: str | None = None

    def keep_alive_seconds(self, usual: float) -> float:
        """How often a stream must show a sign of life, so that the caller does not give up."""
        if self.seconds is None or self.preferred is not None:
            return usual
        return min(usual, self.seconds / 2)


FOR_EVER = Patience()


def patience_of(headers: Headers, *, stream: bool) -> Patience:
    """What a request says of its caller's patience. Raises HttpError: a preference not known."""
    prefer = headers.get("prefer")
    if prefer is None:
        return _of_sdk(headers)
    seconds = 0.0
    for part in prefer.split(","):
        found = _PREFERENCE.fullmatch(part.strip())
        if found is None or int(found[1] or 0) > _LONGEST_WAIT_SECONDS:
            message = f"Prefer takes respond-async and wait=0 to wait={_LONGEST_WAIT_SECONDS}."
            raise HttpError(400, "unsupported_header", message, param="prefer")
        seconds = float(found[1] or seconds)
    if stream:
        message = "A stream is answered at once: it does not go with Prefer."
        raise HttpError(400, "unsupported_header", message, param="prefer")
    return Patience(seconds, prefer)


def _of_sdk(headers: Headers) -> Patience:
    """A little less than the SDK's read timeout: the answer has to arrive before it."""
    try:
        seconds = float(headers[READ_TIMEOUT])
    except (KeyError, ValueError):
        return FOR_EVER
    if not math.isfinite(seconds) or seconds <= 0:
        return FOR_EVER
    return Patience(max(seconds * 0.8, seconds - 2.0))


def retry_scope(headers: Headers, order: Order, raw: bytes) -> tuple[str, int] | None:
    """What a call and its SDK's retries have in common, and which of them this is, from 0."""
    count = headers.get(RETRY_COUNT)
    if count is None or not count.isdecimal() or len(raw) > _LARGEST_BODY_BYTES:
        return None
    told = f"{order.key_id} {order.route} {headers.get('user-agent', '')} ".encode()
    return hashlib.sha256(told + raw).hexdigest(), int(count)


def not_yet(run: Run, patience: Patience) -> Response:
    """The answer to a caller whose patience is over before the run is."""
    if patience.preferred is None:
        return _still_booting(run)
    run.promise()  # it may be one that another caller has begun, without such a wish
    run.leave()
    return _accepted(run, patience)


def _accepted(run: Run, patience: Patience) -> Response:
    """202: where to ask for the answer, and when."""
    told = {
        "id": run.id,
        "model": run.order.plan.model,
        "status": "running",
        "created_at": rfc3339(run.received_at_us),
    }
    response = json_response(told, 202)
    response.headers["location"] = f"/v1/operations/{run.id}"
    response.headers["retry-after"] = str(_come_back_seconds(run))
    response.headers["preference-applied"] = patience.preferred or ""
    response.headers["x-request-id"] = run.id
    return response


def _still_booting(run: Run) -> Response:
    """503 before the caller's patience ends; the run goes on, and waits for it to come back."""
    seconds = _come_back_seconds(run)
    run.leave(back_in_seconds=float(seconds))
    message = "The model is still starting; the same call, sent again, gets its answer."
    failure = HttpError(503, "cold_start_timeout", message, retry_after_seconds=float(seconds))
    return error_response(failure, operation_id=run.id)


def _come_back_seconds(run: Run) -> int:
    expected = run.expected_wait_seconds()
    return max(1, math.ceil(_USUAL_WAIT_SECONDS if expected is None else expected))
