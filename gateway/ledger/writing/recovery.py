"""After a restart: whatever began in a dead process's journal, and did not end, is ended here."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from gateway.ledger import codec
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.layout import journal_names, take, take_folder
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal

logger = logging.getLogger(__name__)

Reader: TypeAlias = Callable[[dict[str, Any]], None]
"""Is told of each decoded line."""

Settle: TypeAlias = Callable[[AttemptRow, int], AttemptRow]
"""``settle(begin_row, now_us)``: the row of the attempt as it is to be ended."""

_PROBES_LAST_SECONDS = 0.05  # others hold a lock for microseconds when they look who is alive
_FOLDER_IS_BUSY_SECONDS = 5.0  # the shipper holds it while it deletes


def recover(directory: Path, journal: Journal, settle: Settle, *readers: Reader) -> int:
    """End every attempt that a dead process left open; returns how many there were.

    ``readers`` are told of all that the files say, before that.

    Takes all older files whose lock it can take and reads them as one, in the light of the files
    of living processes: an attempt begun in one file may have ended, or go on, in a later one.
    The ends are written to ``journal``. Dying on the way is harmless: the next call sees those
    ends too. A torn last line is what death looks like and is ignored; a broken line elsewhere is
    logged and skipped. Raises LedgerUnavailable when the folder stays locked.
    """
    now_us = time.time_ns() // 1000
    with ExitStack() as held:
        begun: dict[str, dict[str, Any]] = {}
        dead = _adopt(directory, journal.name, held)
        for name in journal_names(directory):
            _read(directory / name, begun, readers, alive=name not in dead)
        for attempt_id, columns in begun.items():
            try:
                row = settle(codec.attempt_row(columns), now_us)
            except Exception:
                # One strange row must not keep the gateway from starting; its cost stays unknown.
                logger.exception("recovery: %s cannot be settled", attempt_id)
                unsettled = codec.attempt_row(columns)
                row = replace(unsettled, status="interrupted", error_type="Interrupted")
            journal.end(row)
    if begun:
        logger.warning("recovery: %d attempts were interrupted", len(begun))
    return len(begun)


def _adopt(directory: Path, own: str, held: ExitStack) -> set[str]:
    """Names of the files of dead processes; their locks are ours as long as ``held`` is open."""
    deadline = time.monotonic() + _FOLDER_IS_BUSY_SECONDS
    while (folder := take_folder(directory)) is None:
        if time.monotonic() > deadline:
            raise LedgerUnavailable("Another process does not let go of the journal's folder.")
        time.sleep(0.005)
    held.callback(os.close, folder)
    deadline = time.monotonic() + _PROBES_LAST_SECONDS
    dead: set[str] = set()
    while True:
        others = set(journal_names(directory)) - {own} - dead
        for name in others:
            if (fd := take(directory / name)) is not None:
                held.callback(os.close, fd)
                dead.add(name)
        if not others or time.monotonic() > deadline:
            return dead
        if others <= dead:
            continue  # a file given up by its process is followed by another: look again
        time.sleep(0.005)


def _read(
    path: Path, begun: dict[str, dict[str, Any]], readers: Sequence[Reader], *, alive: bool
) -> None:
    """Fold one file into ``begun``: what is left there at last has no end and no process."""
    for number, raw in enumerate(_whole_lines(path), 1):
        try:
            said = codec.decode(raw)
        except codec.BrokenLine as error:
            logger.error("recovery: %s line %d is broken, skipped: %s", path.name, number, error)
            continue
        for read in readers:
            read(said)
        match said["kind"]:
            case "begin" if alive:
                begun.pop(said["attempt"]["attempt_id"], None)  # it goes on in this file
            case "begin":
                begun[said["attempt"]["attempt_id"]] = said["attempt"]
            case "accepted" if said["attempt_id"] in begun:
                begun[said["attempt_id"]]["upstream_id"] = said["upstream_id"]
            case "correct" if said["attempt_id"] in begun:
                begun[said["attempt_id"]].update(said["set"])
            case "end":
                begun.pop(said["attempt"]["attempt_id"], None)


def _whole_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for raw in file:
            if raw.endswith(b"\n"):
                yield raw
