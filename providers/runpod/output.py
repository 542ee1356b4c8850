"""From what a handler gives back, or yields, to events; each piece of an answer once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson

from providers.contract import (
    Delta,
    Event,
    Finished,
    Output,
    Phases,
    ProtocolViolation,
    ProviderError,
    RequestRejected,
    StreamInterrupted,
    UpstreamFailed,
    Usage,
)
from providers.runpod.options import RunPodOptions
from providers.toolkit.mapping import output_events
from providers.toolkit.openai_frames import StreamFold, usage_from, whole_answer
from providers.toolkit.sse import SseParser

_ABSENT = object()


class Told(Protocol):
    """What of one job's output has been told, and what is still to be told."""

    @property
    def begun(self) -> bool: ...

    def pieces(self, values: Sequence[Any]) -> Iterator[Event]:
        """Events of the pieces of one look."""
        ...

    def is_held_by(self, output: Any) -> bool:
        """Whether a whole output holds all pieces, those that were told first."""
        ...

    def rest(self, output: Any, gap: ProviderError | None) -> Iterator[Event]:
        """What the whole output has beyond that. ``gap``: why pieces may have been lost.

        Raises: StreamInterrupted, or ``gap``, where they were and the output does not hold them.
        """
        ...

    def finished(self, phases: Phases) -> Finished: ...

    @property
    def usage(self) -> Usage | None: ...


class HandlerOutput:
    """Of a handler of one's own. Without ``return_aggregate_stream`` a generator's pieces are in
    ``/stream`` alone; with it the whole output is the list of them.
    """

    def __init__(self, options: RunPodOptions) -> None:
        self._options = options
        self._told: list[Any] = []
        self._files = 0
        self._usage = Usage()
        self.begun = False

    @property
    def usage(self) -> Usage | None:
        return None if self._usage == Usage() else self._usage

    def pieces(self, values: Sequence[Any]) -> Iterator[Event]:
        self._told += values
        texts: list[str] = []
        for value in values:
            self._count(value)
            for event in self._events(value):
                if isinstance(event, Delta):
                    texts.append(event.text)
                    continue
                if texts:
                    yield Delta("".join(texts))
                    texts = []
                yield replace(event, index=self._files)
                self._files += 1
        if texts:
            yield Delta("".join(texts))

    def is_held_by(self, output: Any) -> bool:
        return _begins_with(output, self._told)

    def rest(self, output: Any, gap: ProviderError | None) -> Iterator[Event]:
        if not self._options.streams:
            in_pieces = self._options.output_field is not None and isinstance(output, list)
            yield from self.pieces(output if in_pieces else [output])
        elif self.is_held_by(output):
            yield from self.pieces(output[len(self._told) :])
        elif gap is not None:
            raise _torn(gap)

    def finished(self, phases: Phases) -> Finished:
        return Finished(("stop",), self.usage, phases)

    def _events(self, value: Any) -> Iterator[Delta | Output]:
        field = self._options.output_field
        if field is not None:
            value = _at(value, field)
        if value is _ABSENT:
            raise ProtocolViolation("The handler's output lacks the configured output_field.")
        try:
            for event in output_events(self._options.output, value):
                self.begun = True
                yield event
        except RequestRejected as error:  # the work was done and paid for: no fault of the caller's
            raise UpstreamFailed(error.detail) from error

    def _count(self, value: Any) -> None:
        into = _number(value, self._options.input_tokens_field)
        out = _number(value, self._options.output_tokens_field)
        # A public endpoint says there, in USD, what the job cost.
        said = usage_from(value) if self._options.public else None
        self._usage = replace(
            said or self._usage,
            input_tokens=self._usage.input_tokens if into is None else into,
            output_tokens=self._usage.output_tokens if out is None else out,
        )


class ChatOutput:
    """Of a vLLM worker: a stream's raw SSE text in pieces, or one chat completion.

    Source: worker-vllm, ``src/handler.py`` (2026-08-20).
    """

    def __init__(self) -> None:
        self._fold = StreamFold()
        self._parser = SseParser()
        self._whole: Finished | None = None
        self._taken: list[Any] = []
        self.begun = False

    @property
    def usage(self) -> Usage | None:
        return self._whole.usage if self._whole is not None else self._fold.usage

    def pieces(self, values: Sequence[Any]) -> Iterator[Event]:
        self._taken += values
        for value in values:
            if isinstance(value, dict):
                yield from self._completion(value)
            elif not isinstance(value, str):
                raise ProtocolViolation("The worker's output is no chat completion.")
        text = "".join(value for value in values if isinstance(value, str))
        yield from self._deltas(self._fold.take(self._parser.feed(text.encode())))

    def is_held_by(self, output: Any) -> bool:
        return _begins_with(output, self._taken)

    def rest(self, output: Any, gap: ProviderError | None) -> Iterator[Event]:
        if isinstance(output, dict):
            output = [output]
        if self.is_held_by(output):
            yield from self.pieces(output[len(self._taken) :])
        elif gap is not None:
            raise _torn(gap)
        if self._whole is None:
            yield from self._deltas(self._fold.take(self._parser.close()))
            if not self._fold.complete:
                raise (
                    StreamInterrupted()
                    if self.begun
                    else UpstreamFailed("The worker's answer is not complete.")
                )

    def finished(self, phases: Phases) -> Finished:
        return replace(self._whole or self._fold.finished(), phases=phases)

    def _completion(self, body: Mapping[str, Any]) -> Iterator[Event]:
        for event in whole_answer(orjson.dumps(body)):
            if isinstance(event, Finished):
                self._whole = event
            else:
                self.begun = True
                yield event

    def _deltas(self, deltas: Sequence[Delta]) -> Iterator[Event]:
        for delta in deltas:
            self.begun = True
            yield delta
        if self._fold.failure is not None:
            raise self._fold.failure


def _begins_with(output: Any, pieces: Sequence[Any]) -> bool:
    return isinstance(output, list) and bool(output) and output[: len(pieces)] == list(pieces)


def _torn(gap: ProviderError) -> ProviderError:
    if isinstance(gap, ProtocolViolation):
        return gap
    return StreamInterrupted("Pieces of the output were lost on the way.")


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, Mapping) and name in value:
            value = value[name]
        else:
            return _ABSENT
    return value


def _number(value: Any, path: str | None) -> int | None:
    found = None if path is None else _at(value, path)
    return found if type(found) is int and found >= 0 else None
