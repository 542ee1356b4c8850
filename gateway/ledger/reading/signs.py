"""Until when a gateway lived: by the last change of its files, for there is no better witness.

The gateway touches ``alive`` each second and writes its journal. Others write journal files too,
``gateway import`` say; those must not pass for a dead gateway's last sign of life, since what that
gateway left open is booked up to there. Nor must the journal of a gateway that dies while it
starts, before it has booked that: so ``starting`` keeps the date meanwhile.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gateway.ledger import layout

logger = logging.getLogger(__name__)


def alive_path(data_dir: Path) -> Path:
    """The file that a living gateway touches."""
    return data_dir / "alive"


def last_seen_us(data_dir: Path) -> int:
    """When a gateway last gave a sign of life, in microseconds since the epoch; 0: never."""
    return _last_ns(data_dir) // 1000


def starts(data_dir: Path) -> int:
    """A gateway starts: the same, of earlier ones. It gives none of its own before ``lives``."""
    last_ns, beside = _last_ns(data_dir), data_dir / ".starting.new"
    try:
        beside.touch()
        os.utime(beside, ns=(last_ns, last_ns))
        os.replace(beside, data_dir / "starting")
    except OSError as error:
        logger.warning("cannot write down when a gateway was last seen: %s", error)
    return last_ns // 1000


def lives(data_dir: Path) -> None:
    """It has booked what earlier ones had left open: from now on its own signs count."""
    alive_path(data_dir).touch()
    (data_dir / "starting").unlink(missing_ok=True)


class NoSign:
    """For files that are none: they keep the date of the last sign that was there before them."""

    def __init__(self, data_dir: Path) -> None:
        last_ns = _last_ns(data_dir)
        self._times_ns = (last_ns, last_ns)

    def date(self, fd: int) -> None:
        """Date an open file back; after each change, for this process may die as well."""
        os.utime(fd, ns=self._times_ns)


def _last_ns(data_dir: Path) -> int:
    with suppress(FileNotFoundError):
        return (data_dir / "starting").stat().st_mtime_ns
    return max(_stamps_ns(data_dir), default=0)


def _stamps_ns(data_dir: Path) -> Iterator[int]:
    directory = layout.journal_dir(data_dir)
    for path in (alive_path(data_dir), *(directory / x for x in layout.journal_names(directory))):
        with suppress(FileNotFoundError):
            yield path.stat().st_mtime_ns
