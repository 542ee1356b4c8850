"""A file that takes up room, so that there is some to give when the volume is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_CHUNK_BYTES = 1 << 16


class Ballast:
    """``size_bytes`` of random bytes (a file system may compress zeros away) in ``path``.

    Written through ``write``, like every other byte of the journal.
    """

    def __init__(self, path: Path, size_bytes: int, write: Callable[[int, bytes], int]) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._write = write
        self.ready = False

    def restore(self) -> bool:
        """Put it in place, if there is room. True when it stands there whole."""
        try:
            self.ready = self._is_whole() or self._fill()
        except OSError:
            self.release()
        return self.ready

    def release(self) -> bool:
        """Give the room away. True if there was any to give."""
        was_ready, self.ready = self.ready, False
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return False
        return was_ready

    def _is_whole(self) -> bool:
        try:
            return self._path.stat().st_size == self._size_bytes
        except FileNotFoundError:
            return False

    def _fill(self) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            left = self._size_bytes
            while left:
                piece = os.urandom(min(left, _CHUNK_BYTES))
                if self._write(fd, piece) != len(piece):
                    raise OSError("no room for the ballast")
                left -= len(piece)
        finally:
            os.close(fd)
        return True
