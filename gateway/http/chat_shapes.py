"""Answers in OpenAI's dialect: native frames relayed, others put into its words.

A frame of the upstream goes on as it came, but for ``id`` (the operation's), ``model`` (the name
that was asked for) and ``usage`` (ours: theirs, with cost and cold start).
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.execution.eventlog import Entry
from gateway.execution.run import Run
from gateway.http.answers import operation_json, run_error_json
from gateway.http.errors import HttpError
from gateway.http.sse import frame
from providers.contract import Delta, Finished, Output, RequestRejected

DONE = b"data: [DONE]\n\n"
_COMMON = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed")


def failure_of(run: Run) -> BaseException | None:
    """Why a run failed, in OpenAI's words.

    A key that a deployment of another dialect does not take is an unsupported parameter; what is
    wrong with a knob that every deployment has is a wrong value.
    """
    failure = run.failure
    if type(failure) is not RequestRejected or failure.param is None or not run.rows:
        return failure
    key = failure.param.partition(".")[0].partition("[")[0]
    asked, refused_by = run.order.request, run.rows[-1].deployment
    for target in run.order.plan.targets:
        if target.name == refused_by and target.deployment.capabilities.dialect == asked.dialect:
            return failure
    if key not in asked.extra or key in _COMMON:
        return failure
    message = f"{failure.param}: This model does not support the parameter."
    return HttpError(400, "unsupported_parameter", message, param=failure.param)


def completion_json(run: Run, operation: dict[str, Any]) -> dict[str, Any]:
    """The body of an unstreamed answer."""
    native = run.native.native[0] if run.native is not None and run.native.native else None
    if native is None and run.finished is not None and run.finished.native:
        native = run.finished.native[0]
    if native is not None and "choices" in native and not run.order.request.stream:
        body = dict(native)
    else:
        reasons = run.finished.reasons if run.finished is not None else ()
        indices = run.answer.indices or [0]
        body = {
            "object": "chat.completion",
            "created": run.received_at_us // 1_000_000,
            "choices": [
                {
                    "index": index,
                    "message": _message(run, index),
                    "finish_reason": reasons[index] if index < len(reasons) else "stop",
                    "logprobs": None,
                }
                for index in indices
            ],
        }
    theirs = body.get("usage")
    body["id"] = run.id
    body["model"] = run.order.plan.model
    body["usage"] = usage_json(operation, theirs if isinstance(theirs, dict) else {})
    return body


def _message(run: Run, index: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": run.answer.text(index)}
    reasoning = run.answer.text(index, "reasoning")
    return {**message, "reasoning_content": reasoning} if reasoning else message


def usage_json(operation: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """``usage`` with OpenAI's names, and the cost: a number as others give it, and exact."""
    usage, cost = operation["usage"], operation["cost"]
    prompt, completion = usage["input_tokens"], usage["output_tokens"]
    known = prompt is not None and completion is not None
    shown: dict[str, Any] = {
        **theirs,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if known else None,
        "cost": None if cost["total_usd"] is None else float(cost["total_usd"]),
        "cost_details": cost,
        "cold_start": operation["cold_start"],
    }
    if usage.get("cached_input_tokens") is not None and "prompt_tokens_details" not in theirs:
        shown["prompt_tokens_details"] = {"cached_tokens": usage["cached_input_tokens"]}
    return shown


class ChunkRenderer:
    """Turns a run's log into ``chat.completion.chunk`` events."""

    def __init__(self, run: Run, *, with_usage: bool) -> None:
        self._run = run
        self._with_usage = with_usage
        self._model = run.order.plan.model
        self._begun: set[int] = set()
        self._last_usage: dict[str, Any] = {}

    def render(self, batch: list[Entry]) -> bytes:
        """The chunks behind a batch of entries, to be sent at once."""
        parts: list[bytes] = []
        for entry in batch:
            event = entry.event
            if isinstance(event, Output) and isinstance(event.value, str) and event.kind == "text":
                event = Delta(event.value, event.index)
            if not isinstance(event, Delta | Finished):
                continue
            if event.native:
                self._relay(parts, event)
            elif isinstance(event, Delta):
                if event.text and event.channel != "tool_call":
                    self._say(parts, event)
            else:
                self._stop(parts, event)
        return b"".join(parts)

    def finish(self) -> bytes:
        """The last bytes: usage where it was asked for and the end mark, or the error."""
        run = self._run
        if run.failure is not None:
            return self.failed(failure_of(run))
        if not self._with_usage:
            return DONE
        usage = usage_json(operation_json(run), self._last_usage)
        return frame(self._chunk([], usage=usage)) + DONE

    def failed(self, failure: BaseException | None) -> bytes:
        """The last bytes of a caller who gets no answer."""
        return frame(run_error_json(self._run, failure))

    def _relay(self, parts: list[bytes], event: Delta | Finished) -> None:
        run_id, model = self._run.id, self._model
        dumps = orjson.dumps
        for native in event.native:
            if "choices" not in native:
                continue
            shown = {**native, "id": run_id, "model": model}
            if "usage" in shown:
                usage = shown.pop("usage")
                if isinstance(usage, dict):
                    self._last_usage = usage
                    if not shown["choices"]:
                        continue  # the upstream's usage chunk: ours follows
            parts.append(b"data: " + dumps(shown) + b"\n\n")

    def _say(self, parts: list[bytes], event: Delta) -> None:
        delta: dict[str, Any] = {}
        if event.index not in self._begun:
            self._begun.add(event.index)
            delta["role"] = "assistant"
        delta["content" if event.channel == "text" else "reasoning_content"] = event.text
        choice = {"index": event.index, "delta": delta, "finish_reason": None}
        parts.append(frame(self._chunk([choice])))

    def _stop(self, parts: list[bytes], event: Finished) -> None:
        for index, reason in enumerate(event.reasons or ("stop",)):
            choice = {"index": index, "delta": {}, "finish_reason": reason}
            parts.append(frame(self._chunk([choice])))

    def _chunk(
        self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        chunk: dict[str, Any] = {
            "id": self._run.id,
            "object": "chat.completion.chunk",
            "created": self._run.received_at_us // 1_000_000,
            "model": self._model,
            "choices": choices,
        }
        if usage is not None:
            chunk["usage"] = usage
        return chunk
