"""When the engines of a gateway that died have ended, by what they leave behind.

Each engine holds a file, locked as long as it lives, and writes to it when its lifeline breaks: the
file's time is then its end. A gateway that sees an engine end deletes the file, so what a new one
finds is of engines that were up when the last one died.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

_SUFFIX = ".engine"
# One that is told to end gets five seconds for it; then it is killed.
STILL_ENDING = timedelta(seconds=10)


class Ends:
    """The files of one provider's engines, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ours: set[str] = set()

    def begin(self) -> Path:
        """A new file, for an engine that is about to be started. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob(f"*{_SUFFIX}"):
            if old.name not in self._ours and not _is_held(old):
                old.unlink(missing_ok=True)  # its attempts have been settled before any new work
        path = self._folder / f"{secrets.token_hex(8)}{_SUFFIX}"
        self._ours.add(path.name)
        path.touch(mode=0o600)
        return path

    def ended_by(self, now: datetime) -> datetime | None:
        """When all work of earlier gateways had ended, at the latest. Ask before any new work.

        None: an engine was killed before it could say so, and may have left something running.
        """
        ends = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                told, held = path.stat(), _is_held(path)
            except FileNotFoundError:
                continue
            if held:
                ends.append(now + STILL_ENDING)
            elif told.st_size:
                ends.append(datetime.fromtimestamp(told.st_mtime, UTC))
            else:
                return None
        return max(ends, default=now)  # none: nothing ran that could outlive its gateway


def _is_held(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
