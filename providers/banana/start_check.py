"""V1: ``start/v4/`` gives a call's id, ``check/v4/`` tells how it goes. There is no cancel.

Sources: banana-dev 6.3.0 (generics.py) and captured answers in
https://github.com/ehfazrezwan/sd-serverless-template, read 2026-11-23. Every answer has status 200;
``message`` is ``""``, ``running``, ``success`` or a text with "error" in it. The texts themselves
are documented nowhere, so every one of them is ``UpstreamFailed``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any, Literal

import anyio
from pydantic import BaseModel, ValidationError

from providers.banana.answers import (
    MAX_ANSWER_BYTES,
    error_from,
    json_body,
    outputs_of,
    refuse_retired,
    usage_of,
)
from providers.banana.deployment import BananaDeployment
from providers.contract import (
    Accepted,
    Event,
    Finished,
    GenerateRequest,
    JobReport,
    ProtocolViolation,
    ProviderError,
    UpstreamFailed,
)
from providers.toolkit.jobs import backoff_seconds, running_job

READ_TIMEOUT_SECONDS = 75.0  # a long poll is held for up to 50 s, a start for up to 60
_log = logging.getLogger(__name__)


class Call(BaseModel):
    """What the server says about a call, as far as we read it. ``created`` is text at some."""

    message: str = ""
    callID: str | None = None
    finished: bool = False
    modelOutputs: Any = None

    @property
    def done(self) -> bool:
        return self.finished or self.message.lower() == "success"

    @property
    def failed(self) -> bool:
        return "error" in self.message.lower()

    @property
    def value(self) -> Any:
        """v4 gives a list with one item, v2 the item itself."""
        outputs = self.modelOutputs
        return outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs


class StartCheckDeployment(BananaDeployment):
    """One model, by its key."""

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        inputs = self._input(request)
        order = {"modelKey": self._model, "modelInputs": inputs, "startOnly": True}
        async with running_job(lambda: self._start(order), self._leave) as job:
            call = job.created
            call_id = str(call.callID)
            yield Accepted(call_id)
            for pause_seconds in backoff_seconds():
                if call.done:
                    break
                await anyio.sleep(pause_seconds)
                call = await self._check(call_id, long_poll=True)
                if call.failed:
                    job.ended()
                    raise UpstreamFailed("The server reported an error.", job_id=call_id)
            job.ended()
        for event in outputs_of(self._options, call.value):
            yield event
        yield Finished(("stop",), usage_of(self._options, call.value))

    async def lookup(self, job_id: str) -> JobReport | None:
        """How a call ended, for calls that nobody waited for. Counts and seconds are never said."""
        refuse_retired(self._url)
        call = await self._check(job_id, long_poll=False)
        usage = usage_of(self._options, call.value) if call.done else None
        status: Literal["running", "succeeded", "failed"] = "running"
        if call.failed:
            status = "failed"
        elif call.done:
            status = "succeeded"
        return JobReport(job_id, status, usage)

    async def _start(self, order: dict[str, Any]) -> Call:
        call = await self._post("/start/v4/", order)
        if call.failed:
            raise UpstreamFailed("The server reported an error.", job_id=call.callID)
        if not call.callID:
            raise ProtocolViolation("The server started a call and gave no id.")
        return call

    async def _check(self, call_id: str, *, long_poll: bool) -> Call:
        try:
            return await self._post("/check/v4/", {"callID": call_id, "longPoll": long_poll})
        except ProviderError as error:
            error.job_id = call_id
            raise

    async def _leave(self, call: Call) -> None:
        _log.debug("call %s goes on: the protocol has no cancel", call.callID)

    async def _post(self, path: str, body: dict[str, Any]) -> Call:
        key = "" if self._api_key is None else self._api_key.get_secret_value()
        async with self._http.send(
            "POST",
            self._url + path,
            headers={"content-type": "application/json"},
            content=json_body({**body, "apiKey": key}),
            read_timeout_seconds=READ_TIMEOUT_SECONDS,
        ) as answer:
            if answer.status != 200:
                raise error_from(answer)
            raw = await answer.read(MAX_ANSWER_BYTES)
        try:
            return Call.model_validate_json(raw)
        except ValidationError:
            # Not chained: the validator's error quotes the body.
            raise ProtocolViolation("The server's answer is not a call.") from None
