"""Until when a gateway lived: by the last change of its files, for there is no better witness.

The gateway touches ``alive`` each second and writes its journal. Others write journal files too,
``gateway import`` say; those must not pass for a dead gateway's last sign of life, since what that
gateway left open is booked up to there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gateway.ledger import layout


def alive_path(data_dir: Path) -> Path:
    """The file that a living gateway touches."""
    return data_dir / "alive"


def last_seen_us(data_dir: Path) -> int:
    """When a gateway last gave a sign of life, in microseconds since the epoch; 0: never."""
    return max(_stamps_ns(data_dir), default=0) // 1000


class NoSign:
    """For files that are none: they keep the date of the last sign that was there before them."""

    def __init__(self, data_dir: Path) -> None:
        last_ns = max(_stamps_ns(data_dir), default=0)
        self._times_ns = (last_ns, last_ns)

    def date(self, fd: int) -> None:
        """Date an open file back; after each change, for this process may die as well."""
        os.utime(fd, ns=self._times_ns)


def _stamps_ns(data_dir: Path) -> Iterator[int]:
    directory = layout.journal_dir(data_dir)
    for path in (alive_path(data_dir), *(directory / x for x in layout.journal_names(directory))):
        with suppress(FileNotFoundError):
            yield path.stat().st_mtime_ns
