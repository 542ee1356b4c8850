"""A job as RunPod shows it: status, seconds, worker, output.

Sources, read 2026-11-26: https://docs.runpod.io/serverless/endpoints/operation-reference and
.../job-states (as recorded 2026-08-20); the ``runpod`` SDK 1.12.0, ``endpoint/helpers.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson
from pydantic import BaseModel, PrivateAttr, ValidationError

from providers.contract import ProtocolViolation

ENDED: Mapping[str, Literal["succeeded", "failed", "cancelled"]] = {
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "CANCELLED": "cancelled",
}
QUEUED = "IN_QUEUE"
WORKING = frozenset({"IN_PROGRESS", "RUNNING"})


class Job(BaseModel):
    """What one answer says. Whatever else is odd in it, a job with an id can be cancelled.

    ``output`` is an answer only of a job that is COMPLETED: while it works, a handler's progress
    stands there. ``stream`` are the pieces since the last look, each ``{"output": ...}``.
    """

    id: str = ""
    status: str = ""
    delayTime: Any = None
    executionTime: Any = None
    workerId: Any = None
    output: Any = None
    error: Any = None
    stream: Any = None
    _answered_at: datetime | None = PrivateAttr(None)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def answered_at(self) -> datetime | None:
        """When RunPod answered, by its own clock; whole seconds, cut. None: it did not say."""
        return self._answered_at

    @property
    def wait_seconds(self) -> float | None:
        """From submission until a worker took it: queue and boot together."""
        return _seconds(self.delayTime)

    @property
    def execute_seconds(self) -> float | None:
        """How long the handler ran."""
        return _seconds(self.executionTime)

    @property
    def worker_id(self) -> str | None:
        return self.workerId if isinstance(self.workerId, str) and self.workerId else None

    def pieces(self) -> list[Any]:
        """The values that a generator has yielded since the last look at ``/stream``."""
        items = self.stream if isinstance(self.stream, list) else []
        return [item["output"] for item in items if isinstance(item, dict) and "output" in item]


def parse(raw: bytes, headers: Mapping[str, str]) -> Job:
    """Read an answer about a job. Raises ProtocolViolation.

    ``/stream`` is shown as an object in the SDK and as a bare list of pieces in the reference.
    """
    try:
        value = orjson.loads(raw)
        job = Job.model_validate({"stream": value} if isinstance(value, list) else value)
    except (orjson.JSONDecodeError, ValidationError):
        # Not chained: the validator's error quotes the body.
        raise ProtocolViolation("RunPod's answer is no job.") from None
    job._answered_at = _date(headers)
    return job


def _seconds(milliseconds: object) -> float | None:
    """None where it is absent or no number; below 0, which a clock set back could give, is 0."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    return max(0.0, milliseconds / 1000) if abs(milliseconds) < 1e15 else None


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        read = parsedate_to_datetime(headers.get("date") or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return read if read.tzinfo is not None else None
