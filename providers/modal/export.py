"""The calls of a function as Modal's own command line exports them.

    modal function calls APP/FUNCTION --since 2026-11-01 --json > calls.json

Source: modal 1.6.4, ``cli/function.py`` (one object a call; the statuses are the names of
``FunctionCallInputStatus``, in lower case and with spaces), read 2026-11-26. Newer versions may
say more. What ``startup_time_seconds`` is of, this call's boot or its container's, is not said, so
no verdict rests on it: stamps are judged as those of a live call are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from providers.contract import JobReport, ProviderError, UpstreamFailed, UpstreamTimeout
from providers.modal.api import Outcome
from providers.modal.evidence import Containers, phases_of
from providers.modal.stamps import stamp_of

Status = Literal["running", "succeeded", "failed", "cancelled", "unknown"]

_STATUSES: Mapping[str, tuple[Status, type[ProviderError] | None]] = {
    "pending": ("running", None),
    "running": ("running", None),
    "success": ("succeeded", None),
    "terminated": ("cancelled", None),
    "timeout": ("failed", UpstreamTimeout),
    "failure": ("failed", UpstreamFailed),
    "init failure": ("failed", UpstreamFailed),
    "internal failure": ("failed", UpstreamFailed),
    "idle timeout": ("failed", UpstreamFailed),
    "memory manager eviction": ("failed", UpstreamFailed),
    "memory thrashing eviction": ("failed", UpstreamFailed),
    "kernel oom kill": ("failed", UpstreamFailed),
}


class _Call(BaseModel):
    function_call_id: str
    status: str | int
    service_method_name: str | None = None
    enqueued_at: datetime | None = None
    started_at: datetime | None = None
    container_id: str | None = None
    execution_time_seconds: float | None = None


_CALLS = TypeAdapter(list[_Call])


def read_calls(raw: bytes) -> Sequence[JobReport]:
    """The calls of one export, oldest first. Raises ValueError with words for the operator."""
    try:
        calls = _CALLS.validate_json(raw)
    except ValidationError:
        raise ValueError("this is not what `modal function calls --json` prints") from None
    containers = Containers()
    dated = sorted(calls, key=lambda call: str(call.started_at or call.enqueued_at or ""))
    return [_report(call, containers) for call in dated]


def _report(call: _Call, containers: Containers) -> JobReport:
    status, failure = _STATUSES.get(str(call.status), ("unknown", None))
    ended_at = None
    if call.started_at is not None and call.execution_time_seconds is not None:
        ended_at = call.started_at + timedelta(seconds=call.execution_time_seconds)
    outcome = Outcome(container_id=call.container_id, started_at=call.started_at, ended_at=ended_at)
    return JobReport(
        call.function_call_id,
        status,
        phases=phases_of(call.function_call_id, outcome, containers),
        created_at=call.enqueued_at or stamp_of(call.function_call_id, call.started_at),
        completed_at=ended_at,
        model=call.service_method_name,
        failure=None if failure is None else failure(),
    )
