"""A file that takes up room, so that there is some to give when the volume is full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_CHUNK_BYTES = 1 << 16
_PROBE_BYTES = 1 << 14  # more than the line of any attempt
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


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

    def room_beside(self) -> bool:
        """Whether the volume takes more than the ballast. A try is the only sure way to know."""
        probe = self._path.with_name("probe")
        try:
            fd = os.open(probe, _FRESH, 0o600)
            try:
                return self._write(fd, os.urandom(_PROBE_BYTES)) == _PROBE_BYTES
            finally:
                os.close(fd)
                probe.unlink()
        except OSError:
            return False

    def _is_whole(self) -> bool:
        try:
            return self._path.stat().st_size == self._size_bytes
        except FileNotFoundError:
            return False

    def _fill(self) -> bool:
        fd = os.open(self._path, _FRESH, 0o600)
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
