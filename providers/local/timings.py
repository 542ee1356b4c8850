"""The seconds that servers report with an answer, as ``Phases``; None where they report none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from providers.contract import Http, HttpResponse, Phases

Timing: TypeAlias = Callable[[Iterable[Mapping[str, Any]], Mapping[str, str]], Phases | None]


def from_llamacpp(frames: Iterable[Mapping[str, Any]], headers: Mapping[str, str]) -> Phases | None:
    """``timings`` of the last chunk: the prompt and the answer, without the wait for a slot.

    Source: llama.cpp tools/server, seen at b11549 (2026-11-23).
    """
    said = _last(frames, "timings")
    execute = _sum_of_ms(said.get("prompt_ms"), said.get("predicted_ms"))
    return None if execute is None else Phases(execute_seconds=execute)


def from_vllm(frames: Iterable[Mapping[str, Any]], headers: Mapping[str, str]) -> Phases | None:
    """``metrics`` of the usage chunk, only with ``--enable-per-request-metrics``.

    ``time_to_first_token_ms`` counts from scheduling, so the queue is not in it.
    Source: vLLM, build_per_request_timing_metrics and its test (read 2026-11-23).
    """
    said = _last(frames, "metrics")
    execute = _sum_of_ms(said.get("time_to_first_token_ms"), said.get("generation_time_ms"))
    queue = _sum_of_ms(said.get("queue_time_ms"))
    if execute is None and queue is None:
        return None
    return Phases(queue_seconds=queue, execute_seconds=execute)


def from_tgi(frames: Iterable[Mapping[str, Any]], headers: Mapping[str, str]) -> Phases | None:
    """``x-queue-time`` and ``x-inference-time``, whole milliseconds, in unstreamed answers only.

    Source: text-generation-inference router/src/server.rs (read 2026-11-23).
    """
    execute = _sum_of_ms(_number(headers.get("x-inference-time")))
    queue = _sum_of_ms(_number(headers.get("x-queue-time")))
    if execute is None and queue is None:
        return None
    return Phases(queue_seconds=queue, execute_seconds=execute)


class NotingHttp:
    """An ``Http`` that keeps the headers of the last answer."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.headers: Mapping[str, str] = {}

    def send(
        self, method: str, url: str, **options: Any
    ) -> AbstractAsyncContextManager[HttpResponse]:
        return self._noting(self._http.send(method, url, **options))

    async def aclose(self) -> None:
        """The client is somebody else's."""

    @asynccontextmanager
    async def _noting(self, exchange: AbstractAsyncContextManager[HttpResponse]) -> Any:
        async with exchange as answer:
            self.headers = answer.headers
            yield answer


def _last(frames: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = {}
    for frame in frames:
        said = frame.get(name)
        found = said if isinstance(said, Mapping) else found
    return found


def _sum_of_ms(*milliseconds: Any) -> float | None:
    """Seconds; None unless all are said."""
    if any(type(value) not in (int, float) or value < 0 for value in milliseconds):
        return None
    return float(sum(milliseconds)) / 1000


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None
