"""How long a caller waits, as far as it says so: ``Prefer``, and the SDKs' own headers.

``Prefer: respond-async`` and ``wait=N`` (RFC 7240) get 202 and an operation to poll; nobody else
does, since a 202 without an answer breaks the SDKs. SDKs made with Stainless (OpenAI's among them)
name their read timeout and count their retries: one that waits for a boot hears 503 just before it
would hang up, and when to come back; its retry joins the operation that goes on meanwhile. So does
any caller whose ``deadline_seconds`` end during a boot, and the same call of it, sent again.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response

from gateway.clock import rfc3339
from gateway.errors import DeadlineExceeded
from gateway.execution.booting import come_back_seconds
from gateway.execution.operation import Order
from gateway.execution.run import Run
from gateway.http.errors import HttpError, error_response
from gateway.http.json import json_response

RETRY_COUNT, READ_TIMEOUT = "x-stainless-retry-count", "x-stainless-read-timeout"
_LONGEST_WAIT_SECONDS = 3600
_LARGEST_BODY_BYTES = 1 << 20  # a larger one is not compared: hashing it would hold up the others
_PREFERENCE = re.compile(r"respond-async|wait=(\d{1,4})")


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
    if count is None or not count.isdecimal():
        return None
    scope = call_scope(headers, order, raw)
    return None if scope is None else (scope, int(count))


def call_scope(headers: Headers, order: Order, raw: bytes) -> str | None:
    """What a call and the same call, sent again, have in common; None: it is too large for that."""
    if len(raw) > _LARGEST_BODY_BYTES:
        return None
    told = f"{order.key_id} {order.route} {headers.get('user-agent', '')} ".encode()
    return hashlib.sha256(told + raw).hexdigest()


class Waiting:
    """One caller's wait for a run, and what it hears if its time is over before the run is.

    ``joined``: another call has begun the run. The deadline of the one that did is the run's own
    (``Run.late`` says when it came during a boot); one that joins brings its own.
    """

    def __init__(
        self, run: Run, order: Order, patience: Patience, headers: Headers, raw: bytes
    ) -> None:
        self.run, self.patience = run, patience
        self.joined = run.order.request is not order.request
        self._call = (headers, order, raw)
        self.began_at = run.clock.monotonic()
        self.deadline_seconds = order.deadline_seconds if self.joined else None
        given = self.deadline_seconds
        self.deadline_at = math.inf if given is None else self.began_at + given

    @property
    def over(self) -> bool:
        """Whether its deadline has come, and the run goes on."""
        if self.joined:
            return self.run.clock.monotonic() >= self.deadline_at
        return self.run.late

    def answer(self, disconnect_grace_seconds: float) -> Response:
        """What it hears that waits no longer."""
        if self.patience.preferred is None:
            failure = self.end(disconnect_grace_seconds)
            return error_response(failure, operation_id=self.run.id)
        self.run.park()  # it may be one that another caller has begun, without such a wish
        self.run.leave()
        return _accepted(self.run, self.patience)

    def end(self, disconnect_grace_seconds: float) -> HttpError | DeadlineExceeded:
        """Wait no longer: why, in an error's words."""
        run = self.run
        if self.joined and not run.waits_for_boot:
            run.park()
            run.leave()
            return DeadlineExceeded()
        seconds = come_back_seconds(run.expected_wait_seconds())
        run.send_away(call_scope(*self._call), seconds, disconnect_grace_seconds)
        message = "The model is still starting; the same call, sent again, gets its answer."
        return HttpError(503, "cold_start_timeout", message, retry_after_seconds=seconds)


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
    response.headers["retry-after"] = str(math.ceil(come_back_seconds(run.expected_wait_seconds())))
    response.headers["preference-applied"] = patience.preferred or ""
    response.headers["x-request-id"] = run.id
    return response
