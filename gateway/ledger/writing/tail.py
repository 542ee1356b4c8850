"""Whole lines of a file that may still grow."""

from __future__ import annotations

import os
from pathlib import Path

_FIRST_READ_BYTES = 1 << 20
_LONGEST_LINE_BYTES = 1 << 28


def read_lines(path: Path, offset: int, max_lines: int) -> tuple[list[bytes], int]:
    """Up to ``max_lines`` whole lines from ``offset`` on, and the offset after them.

    No lines and the same offset: nothing new yet, only a torn last line, or no such file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return [], offset
    try:
        size = _FIRST_READ_BYTES
        read = os.pread(fd, size, offset)
        while len(read) == size < _LONGEST_LINE_BYTES and b"\n" not in read:
            size *= 4
            read = os.pread(fd, size, offset)
    finally:
        os.close(fd)
    *lines, _rest = read[: read.rfind(b"\n") + 1].split(b"\n", max_lines)
    return lines, offset + sum(map(len, lines)) + len(lines)
