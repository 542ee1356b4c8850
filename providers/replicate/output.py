"""What of a prediction's output has been told, and what is still to be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
        self._text: list[str] = []
        self._files = 0
        self.begun = False

    @property
    def streams(self) -> bool:
        """Whether pieces can be told as they come; a JSON value has none."""
        return self._rule != "json"

    def streamed(self, pieces: Sequence[SseEvent], seen: Prediction) -> Iterator[Event]:
        """Events of the ``output`` pieces of one read, their texts as one."""
        texts: list[str] = []
        for piece in pieces:
            text = _decoded(piece.data)
            if self._is_file(text):
                yield from self._say("".join(texts))
                texts = []
                yield from self._tell_files([text], seen)
            else:
                texts.append(text)
        yield from self._say("".join(texts))

    def rest(self, seen: Prediction, *, complete: bool = False) -> Iterator[Event]:
        """What the prediction has beyond that; ``complete``: its stream told the whole text.

        Raises: StreamInterrupted where the text told is not the begin of its whole text.
        """
        output = seen.output
        if self._files:
            later = output[self._files :] if isinstance(output, list) else []
            yield from self._tell_files(later, seen)
        elif self._text or not seen.ended:
            if not complete and (self._text or self._is_text(output)):
                yield from self._say(self._text_after("".join(self._text), seen))
        else:
            for event in output_events(self._rule, output):
                self.begun = True
                yield _dated(event, seen) if isinstance(event, Output) else event

    def _say(self, text: str) -> Iterator[Event]:
        if text:
            self.begun = True
            self._text.append(text)
            yield Delta(text)

    def _tell_files(self, items: Sequence[object], seen: Prediction) -> Iterator[Event]:
        for item in items:
            for event in output_events(self._rule, item):
                if isinstance(event, Output):
                    self.begun = True
                    yield replace(_dated(event, seen), index=self._files)
                    self._files += 1

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
            and isinstance(output, list)
            and all(isinstance(piece, str) and not is_address(piece) for piece in output)
        )

    def _text_after(self, told: str, seen: Prediction) -> str:
        pieces = seen.output if isinstance(seen.output, list) else [seen.output]
        whole = "".join(piece for piece in pieces if isinstance(piece, str))
        # A stream's lines end in LF, whatever the model wrote.
        whole = whole.replace("\r\n", "\n").replace("\r", "\n")
        if whole.startswith(told):
            return whole[len(told) :]
        if not seen.ended:
            return ""
        raise StreamInterrupted(
            "The stream broke off and could not be put together again.", job_id=seen.id
        )


def _dated(event: Output, seen: Prediction) -> Output:
    if event.url is None or event.url.startswith("data:"):
        return event
    return replace(event, expires_at=seen.expires)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("Replicate's stream is not UTF-8.") from None
