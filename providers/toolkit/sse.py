"""Server-sent events without I/O: bytes in, events out, whatever the splits.

Follows the WHATWG standard (https://html.spec.whatwg.org/multipage/server-sent-events.html, read
2026-11-23) with two differences a relay needs: data stays bytes, and ``close`` gives an event
whose last blank line never came. Linear in the bytes fed, also one byte at a time.
"""

from __future__ import annotations

from typing import NamedTuple

from providers.contract import ProtocolViolation

MAX_EVENT_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One event. ``data`` has its lines joined by LF; ``id`` is the last one seen in the stream."""

    data: bytes
    event: str = "message"
    id: str = ""


class SseParser:
    """Feed it the body as it comes; it answers with the events that are complete.

    ``retry_seconds`` is the last reconnection time the stream asked for.
    Raises ProtocolViolation when one event passes ``max_event_bytes``.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.retry_seconds: float | None = None
        self._max_event_bytes = max_event_bytes
        self._pending = bytearray()  # an unfinished event, its line ends already LF
        self._skip_lf = False  # the last byte was CR, so an LF now belongs to it
        self._at_start = True
        self._last_id = ""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that ``chunk`` completes, in order."""
        if self._at_start:
            chunk = self._without_bom(chunk)
        if self._skip_lf or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        pending = self._pending
        if pending:
            seen = len(pending)
            pending += chunk
            # The blank line may lie across the border: begin one byte before it.
            end = pending.rfind(b"\n\n", seen - 1)
            if end < 0:
                self._check(len(pending))
                return []
            block = bytes(pending[:end])
            del pending[: end + 2]
        else:
            end = chunk.rfind(b"\n\n")
            if end < 0:
                pending += chunk
                self._check(len(pending))
                return []
            block = chunk[:end]
            pending += chunk[end + 2 :]
        too_long = len(block) > self._max_event_bytes
        events = []
        for raw in block.split(b"\n\n"):
            if too_long:
                self._check(len(raw))
            if raw.startswith(b"data: ") and b"\n" not in raw:
                events.append(SseEvent(raw[6:], "message", self._last_id))
            elif (event := self._parse(raw)) is not None:
                events.append(event)
        self._check(len(pending))
        return events

    def close(self) -> list[SseEvent]:
        """What was begun and lacks only its blank line; it may well be cut."""
        raw = bytes(self._pending)
        self._pending.clear()
        event = self._parse(raw)
        return [event] if event is not None else []

    def _check(self, size: int) -> None:
        if size > self._max_event_bytes:
            raise ProtocolViolation("The provider sent a stream event longer than allowed.")

    def _without_bom(self, chunk: bytes) -> bytes:
        head = bytes(self._pending) + chunk
        self._pending.clear()
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._pending += head
            return b""
        self._at_start = False
        return head.removeprefix(_BOM)

    def _with_lf(self, chunk: bytes) -> bytes:
        if self._skip_lf and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        if chunk.endswith(b"\r"):
            self._skip_lf = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _parse(self, raw: bytes) -> SseEvent | None:
        data: list[bytes] = []
        event = "message"
        for line in raw.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value.decode(errors="replace") or "message"
            elif name == b"id" and b"\0" not in value:
                self._last_id = value.decode(errors="replace")
            elif name == b"retry" and value.isdigit():
                self.retry_seconds = int(value[:12]) / 1000
        return SseEvent(b"\n".join(data), event, self._last_id) if data else None
