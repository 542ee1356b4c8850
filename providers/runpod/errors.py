"""What RunPod's refusals and failed jobs mean. Its words, and the handler's, reach no caller.

Sources, read 2026-11-26: https://docs.runpod.io/serverless/endpoints/send-requests (statuses, as
recorded 2026-08-20); the ``runpod`` SDK 1.12.0, ``serverless/modules/rp_job.py``: what a function
raises becomes an ``error`` of JSON text with ``error_type`` and a traceback, what a generator
raises plain text with a traceback, what either gives back as ``error`` that text; worker-vllm
(2026-08-20), ``src/handler.py``: the text of its errors.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from providers.contract import (
    ModelNotFound,
    Phases,
    ProviderError,
    UpstreamFailed,
    UpstreamTimeout,
)
from providers.runpod.job import Job
from providers.toolkit.openai_errors import error_from_answer
from providers.toolkit.status import error_class_for, retry_after_seconds

ERROR_BODY_BYTES = 64 * 1024
NO_ENDPOINT = "RunPod knows no such endpoint."
# ``<class 'torch.cuda.OutOfMemoryError'>``: the name of a class, and nothing that it says.
_ERROR_TYPE = re.compile(r"<class '([A-Za-z_][A-Za-z0-9_.]{0,80})'>")
_VLLM_ANSWER = re.compile(r"vLLM returned HTTP ([45]\d\d): (.*)", re.DOTALL)


def refusal(status: int, headers: Mapping[str, str]) -> ProviderError:
    """The error for an answer that is no success."""
    error = error_class_for(status)
    return error(
        NO_ENDPOINT if error is ModelNotFound else None,
        upstream_status=status,
        retry_after_seconds=retry_after_seconds(headers, datetime.now(UTC)),
    )


def failure(job: Job, phases: Phases | None = None) -> ProviderError:
    """The error for a job that has ended without success."""
    known: dict[str, Any] = {"job_id": job.id, "phases": phases}
    if job.status == "TIMED_OUT":
        # "either expired before it was picked up by a worker or the worker failed to report back
        # before reaching the timeout threshold" (job states)
        return UpstreamTimeout("The job ran out of the time that RunPod gives it.", **known)
    if job.status == "CANCELLED":
        return UpstreamFailed("The job was cancelled at RunPod.", **known)
    text = job.error if isinstance(job.error, str) else ""
    if found := _VLLM_ANSWER.match(_vllm_message(text)):
        error = error_from_answer(int(found[1]), {}, found[2].encode())
        error.job_id, error.phases = job.id, phases
        return error
    named = _ERROR_TYPE.fullmatch(_error_type(text))
    if named is None:
        return UpstreamFailed("The handler reported an error.", **known)
    return UpstreamFailed(f"The handler raised an error ({named[1]}).", **known)


def gone(job_id: str) -> ProviderError:
    """For a job that RunPod does not know any more: its time to live is over, or it was lost."""
    return UpstreamTimeout(
        "RunPod does not know the job any more; its time may be over.",
        job_id=job_id,
        may_have_run=True,
    )


def _vllm_message(text: str) -> str:
    """The worker SDK makes a Python literal of the ``{"message": ...}`` that the handler yields."""
    try:
        said = ast.literal_eval(text[:ERROR_BODY_BYTES])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ""
    message = said.get("message") if isinstance(said, dict) else None
    return message if isinstance(message, str) else ""


def _error_type(text: str) -> str:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ""
    name = said.get("error_type") if isinstance(said, dict) else None
    return name if isinstance(name, str) else ""
