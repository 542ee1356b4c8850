"""Files that the shipper writes whole or deletes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from gateway.ledger import codec, layout
from gateway.ledger.reading.opened import Told
from gateway.ledger.shipping.store import Store
from gateway.ledger.writing.tail import read_lines

logger = logging.getLogger(__name__)


def write_whole(path: Path, content: bytes) -> bool:
    """Replace a file so that readers see the old or the new one, never a part. False: no room."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError as error:
        logger.warning("shipper: cannot write %s: %s", path.name, error)
        return False
    return True


class Housekeeper:
    """Deletes files of dead or rotated journals that are wholly in the database.

    Oldest first, up to the first that is still needed: the end of an attempt is never deleted
    before its begin, or ``recover`` would end it again. A file is needed while an attempt begun in
    it has not ended, while later files do not say all that is left of a charge that went on at its
    end, while anything in it is not shipped, and while it is the newest. A file with lines that
    could not be read is kept under another name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._left_open: dict[str, list[str]] = {}
        self._going_on: dict[str, Told] = {}

    def delete_shipped(self, store: Store, offsets: Mapping[str, int]) -> None:
        """Delete what can be deleted now. Raises StoreUnavailable."""
        names = layout.journal_names(self._directory)
        older = names[:-1]
        if not older or (folder := layout.take_folder(self._directory)) is None:
            return  # nothing to do, or a starting gateway is reading the files
        try:
            if layout.is_held(layout.backup_lock(self._directory)):
                return
            for number, name in enumerate(older, 1):
                if layout.is_held(self._directory / name):
                    continue
                if not self._is_done(name, store, offsets):
                    return
                later = [self._directory / other for other in names[number:]]
                if not self._going_on[name].by(later):
                    return
                self._delete(name, store)
        finally:
            os.close(folder)

    def _is_done(self, name: str, store: Store, offsets: Mapping[str, int]) -> bool:
        path = self._directory / name
        unread, _ = read_lines(path, offsets.get(name, 0), 1)
        if unread:
            return False
        if name not in self._left_open:  # nobody writes the file, so once is enough
            self._left_open[name] = _left_open(path)
            self._going_on[name] = Told(path)
        return not store.running(self._left_open[name])

    def _delete(self, name: str, store: Store) -> None:
        path = self._directory / name
        store.removed(name)
        if store.rejected_lines(name):
            os.replace(path, path.with_name(name + layout.KEPT_SUFFIX))
            logger.error("shipper: %s has lines that could not be read and is kept", name)
        else:
            path.unlink()
        self._left_open.pop(name, None)
        self._going_on.pop(name, None)


def _left_open(path: Path) -> list[str]:
    """Attempts with a begin and no end in this file."""
    found: set[str] = set()
    offset = 0
    while True:
        raw_lines, offset = read_lines(path, offset, 1000)
        if not raw_lines:
            return sorted(found)
        for raw in raw_lines:
            match codec.begin_or_end(raw):
                case ("begin", attempt_id):
                    found.add(attempt_id)
                case ("end", attempt_id):
                    found.discard(attempt_id)
