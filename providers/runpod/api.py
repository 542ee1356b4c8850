"""The calls that are made at one endpoint. Each is sent once; the key goes nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from providers.contract import Http, ModelNotFound, ProtocolViolation, RequestRejected
from providers.runpod.errors import ERROR_BODY_BYTES, refusal
from providers.runpod.job import Job, parse
from providers.runpod.options import RunPodSettings

CALL_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 << 20  # a job's result is at most 20 MB, a piece of a stream 1 MB


class Endpoint:
    """One queue-based endpoint, and what the account's REST API says of it."""

    def __init__(self, http: Http, settings: RunPodSettings, endpoint: str) -> None:
        self._http = http
        self._settings = settings
        self._jobs_url = f"{settings.base_url}/{endpoint}"
        self._management_url = f"{settings.management_url}/serverless/{endpoint}"

    async def run(self, order: Mapping[str, Any]) -> Job:
        """Submit a job, which is queued."""
        job = parse(*await self._call("POST", f"{self._jobs_url}/run", order))
        if not job.id:
            raise ProtocolViolation("RunPod took a job and gave no id.")
        return job

    async def status(self, job_id: str) -> Job | None:
        """Look at a job; None: RunPod knows no such."""
        try:
            return parse(*await self._call("GET", f"{self._jobs_url}/status/{_quoted(job_id)}"))
        except ModelNotFound:
            return None

    async def stream(self, job_id: str) -> Job:
        """The pieces that came since the last such look, and the status."""
        return parse(*await self._call("GET", f"{self._jobs_url}/stream/{_quoted(job_id)}"))

    async def cancel(self, job_id: str) -> None:
        """Take a job out of the queue, or stop it."""
        await self._call("POST", f"{self._jobs_url}/cancel/{_quoted(job_id)}")

    async def health(self) -> dict[str, Any]:
        """Counts of jobs and workers."""
        return _object(await self._call("GET", f"{self._jobs_url}/health"))

    async def workers(self) -> dict[str, Any]:
        """The workers that are up or coming up, with what each does."""
        return _object(await self._call("GET", f"{self._management_url}/workers"))

    async def settings(self) -> dict[str, Any]:
        """The endpoint's own settings."""
        return _object(await self._call("GET", self._management_url))

    async def change(self, changes: Mapping[str, Any]) -> None:
        """Change some of them."""
        await self._call("PATCH", self._management_url, changes)

    async def _call(
        self, method: str, url: str, body: Mapping[str, Any] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        headers = {"authorization": f"Bearer {self._settings.api_key.get_secret_value()}"}
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = _encoded(body)
        async with self._http.send(
            method, url, headers=headers, content=content, read_timeout_seconds=CALL_SECONDS
        ) as answer:
            if not 200 <= answer.status < 300:
                await answer.read(ERROR_BODY_BYTES)  # so that the connection can be kept
                raise refusal(answer.status, answer.headers)
            return await answer.read(MAX_ANSWER_BYTES), answer.headers


def _quoted(job_id: str) -> str:
    return quote(job_id, safe="")


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise RequestRejected("The input cannot be said in JSON.", param="input") from None


def _object(answer: tuple[bytes, Mapping[str, str]]) -> dict[str, Any]:
    try:
        value = orjson.loads(answer[0])
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ProtocolViolation("RunPod's answer is no object.")
    return value
