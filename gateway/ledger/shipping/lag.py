"""How far the database is behind the journal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.ledger.layout import journal_names

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Lag:
    """What the journal holds and the database does not."""

    bytes: int
    lines: int


@dataclass(slots=True)
class _Counted:
    begin: int
    end: int
    lines: int


class LagMeter:
    """Measures it again and again; blocks for as long as reading takes.

    Lines are counted in what has been written since the last time, and taken off in what has been
    shipped since: no byte is read more than twice, and none that came and went in between.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._counted: dict[str, _Counted] = {}
        self._lock = threading.Lock()  # two may ask at once, each from a thread

    def measure(self, shipped: Mapping[str, int]) -> Lag:
        """The lag behind files that are shipped up to these offsets; others are not at all."""
        with self._lock:
            return self._measure(shipped)

    def _measure(self, shipped: Mapping[str, int]) -> Lag:
        sizes = {}
        for name in journal_names(self._directory):
            try:
                sizes[name] = (self._directory / name).stat().st_size
            except FileNotFoundError:
                continue  # shipped and deleted since it was listed
        total_bytes = total_lines = 0
        fresh = {}
        for name, size in sizes.items():
            begin = shipped.get(name, 0)
            if size > begin:
                fresh[name] = self._count(name, begin, size)
                total_bytes += size - begin
                total_lines += fresh[name].lines
        self._counted = fresh
        return Lag(total_bytes, total_lines)

    def _count(self, name: str, begin: int, end: int) -> _Counted:
        before = self._counted.get(name)
        if before is None or not before.begin <= begin < before.end <= end:
            return _Counted(begin, end, self._lines(name, begin, end))
        gone = self._lines(name, before.begin, begin)
        come = self._lines(name, before.end, end)
        return _Counted(begin, end, before.lines - gone + come)

    def _lines(self, name: str, begin: int, end: int) -> int:
        found = 0
        try:
            with (self._directory / name).open("rb") as file:
                file.seek(begin)
                while begin < end:
                    chunk = file.read(min(_CHUNK_BYTES, end - begin))
                    if not chunk:
                        break
                    found += chunk.count(b"\n")
                    begin += len(chunk)
        except FileNotFoundError:
            return found  # deleted meanwhile: all of it is shipped
        return found
