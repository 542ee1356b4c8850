"""What of a prediction's output has been told, and what is still to be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeGuard
from urllib.parse import urlsplit

from providers.contract import Delta, Event, Output, ProtocolViolation, StreamInterrupted
from providers.replicate.prediction import Prediction
from providers.toolkit.mapping import OutputRule, is_address, output_events
from providers.toolkit.sse import SseEvent

_FILE_RULES = ("image", "audio", "video", "file")


class OutputTold:
    """Turns streamed pieces and whole outputs into events, each piece of an answer once."""

    def __init__(self, rule: OutputRule) -> None:
        self._rule = rule
        self._pieces: list[str] = []  # all that were told
        self._files = 0
        self.begun = False

    @property
    def streams(self) -> bool:
        """Whether pieces can be told as they come; a JSON value has none."""
        return self._rule != "json"

    def streamed(self, pieces: Sequence[SseEvent], seen: Prediction) -> Iterator[Event]:
        """Events of the ``output`` pieces of one read, their texts as one."""
        yield from self._tell([_decoded(piece.data) for piece in pieces], seen)

    def rest(self, seen: Prediction, *, complete: bool = False) -> Iterator[Event]:
        """What the prediction has beyond that; ``complete``: its stream said that it told all.

        Raises: StreamInterrupted where what was told is not the begin of it, unless ``complete``.
        """
        output = seen.output
        must_fit = seen.ended and not complete
        if self._pieces or not seen.ended:
            if self._pieces or self._is_text(output):
                yield from self._tell(self._after("".join(self._pieces), seen, must_fit), seen)
        elif seen.stream_url() is not None and self.streams and _is_strings(output):
            yield from self._tell(output, seen)  # as it would have streamed
        else:
            for event in output_events(self._rule, output):
                self.begun = True
                yield _dated(event, seen) if isinstance(event, Output) else event

    def _tell(self, pieces: Sequence[str], seen: Prediction) -> Iterator[Event]:
        texts: list[str] = []
        for piece in pieces:
            if not piece:
                continue
            self.begun = True
            self._pieces.append(piece)
            if not self._is_file(piece):
                texts.append(piece)
                continue
            if texts:
                yield Delta("".join(texts))
                texts = []
            for event in output_events(self._rule, piece):
                if isinstance(event, Output):
                    yield replace(_dated(event, seen), index=self._files)
                    self._files += 1
        if texts:
            yield Delta("".join(texts))

    def _is_file(self, text: str) -> bool:
        """Whether a streamed piece is a file's address: a piece of text may look like one too."""
        if self._rule != "auto":
            return self._rule in _FILE_RULES
        if not text.startswith("https://") or not is_address(text):
            return False
        try:
            host = urlsplit(text).hostname
        except ValueError:
            return False
        return f".{host}".endswith(".replicate.delivery")

    def _is_text(self, output: object) -> bool:
        """Whether an output that is not complete yet is text so far."""
        return (
            self._rule in ("auto", "text")
            and _is_strings(output)
            and not any(is_address(piece) for piece in output)
        )

    def _after(self, told: str, seen: Prediction, must_fit: bool) -> list[str]:
        """The pieces after what was told, however that was cut; one may be told in part."""
        output = seen.output if isinstance(seen.output, list) else [seen.output]
        pieces = _with_lf([piece for piece in output if isinstance(piece, str) and piece])
        if not "".join(pieces).startswith(told):
            if must_fit:
                raise _torn(seen)
            return []
        left, rest = len(told), []
        for piece in pieces:
            rest.append(piece[left:])
            left = max(0, left - len(piece))
        return rest


def _torn(seen: Prediction) -> StreamInterrupted:
    words = "The stream broke off and could not be put together again."
    return StreamInterrupted(words, job_id=seen.id)


def _with_lf(pieces: Sequence[str]) -> list[str]:
    """As a stream has them: its lines end in LF, whatever the model wrote."""
    found, before = [], ""
    for piece in pieces:
        of_before = before.endswith("\r") and piece.startswith("\n")
        text = piece[1:] if of_before else piece
        found.append(text.replace("\r\n", "\n").replace("\r", "\n"))
        before = piece
    return found


def _is_strings(output: object) -> TypeGuard[list[str]]:
    return isinstance(output, list) and all(isinstance(piece, str) for piece in output)


def _dated(event: Output, seen: Prediction) -> Output:
    if event.url is None or event.url.startswith("data:"):
        return event
    return replace(event, expires_at=seen.expires)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("Replicate's stream is not UTF-8.") from None
