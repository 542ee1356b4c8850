"""The answer of a run, folded from its output events: the same for streamed and unstreamed."""

from __future__ import annotations

import base64
from datetime import UTC
from typing import Any

import orjson

from providers.contract import Channel, Delta, Output


class Answer:
    """Texts by choice and channel in order of appearance, and whole outputs."""

    __slots__ = ("_order", "_texts", "images", "size_bytes", "text_bytes")

    def __init__(self) -> None:
        self._texts: dict[tuple[int, Channel], list[str]] = {}
        self._order: list[tuple[int, Channel] | Output] = []
        self.text_bytes = 0
        self.size_bytes = 0
        self.images = 0

    def observe(self, event: Delta | Output) -> None:
        """Take in one piece. Raises ValueError or TypeError: it cannot be written as JSON."""
        if isinstance(event, Delta):
            if not event.text:
                return
            key = (event.index, event.channel)
            parts = self._texts.get(key)
            if parts is None:
                self._texts[key] = parts = []
                self._order.append(key)
            parts.append(event.text)
            text = event.text
            grown = len(text) if text.isascii() else len(text.encode())
            self.text_bytes += grown
            self.size_bytes += grown
            return
        self._order.append(event)
        self.size_bytes += len(event.data or b"")
        if event.kind == "image":
            self.images += 1
        if event.kind == "text" and isinstance(event.value, str):
            grown = len(event.value.encode())
            self.text_bytes += grown
            self.size_bytes += grown
        elif event.value is not None:
            self.size_bytes += len(orjson.dumps(event.value))

    def text(self, index: int = 0, channel: Channel = "text") -> str:
        """One choice's text; of the channel text, whole outputs as well."""
        said = "".join(self._texts.get((index, channel), ()))
        if channel != "text":
            return said
        return said + "".join(item.value for item in self._whole_texts() if item.index == index)

    @property
    def indices(self) -> list[int]:
        """The choices that have text, ascending."""
        whole = {item.index for item in self._whole_texts()}
        return sorted({index for index, _ in self._texts} | whole)

    def _whole_texts(self) -> list[Output]:
        return [
            item
            for item in self._order
            if isinstance(item, Output) and item.kind == "text" and isinstance(item.value, str)
        ]

    def outputs(self) -> list[dict[str, Any]]:
        """The ``output`` list of the API."""
        found: list[dict[str, Any]] = []
        for item in self._order:
            if isinstance(item, Output):
                found.append(output_json(item))
            else:
                index, channel = item
                said = "".join(self._texts[item])
                piece: dict[str, Any] = {"type": channel, "text": said}
                if index:
                    piece["index"] = index
                found.append(piece)
        return found


def output_json(output: Output) -> dict[str, Any]:
    """One whole output as the API shows it; bytes as base64."""
    shown: dict[str, Any] = {"type": output.kind}
    if output.media_type is not None:
        shown["media_type"] = output.media_type
    if output.url is not None:
        shown["url"] = output.url
        if output.expires_at is not None:
            at = output.expires_at.astimezone(UTC)
            shown["expires_at"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    elif output.data is not None:
        shown["data"] = base64.b64encode(output.data).decode("ascii")
    elif output.kind == "text":
        shown["text"] = output.value
    else:
        shown["value"] = output.value
    if output.index:
        shown["index"] = output.index
    return shown
