"""Charges that were going on when a gateway's journal ended: for the next start, which books them.

An attempt that begins at a deployment ends what kept that warm: it was of use. The charge that says
so is written next; if death came first, the begin is all that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from gateway.ledger import codec
from gateway.ledger.rows import OpenCharge
from gateway.ledger.stay_rules import GOES_ON
from gateway.ledger.writing.tail import read_lines

Place: TypeAlias = tuple[str, str]
"""What is paid for, and at which deployment."""


@dataclass(slots=True)
class Going:
    """One that goes on: from ``since_us`` it is not booked yet. ``used_at_us``: a request came.

    ``began_us``: when it began to cost.
    """

    row: OpenCharge
    began_us: int
    since_us: int
    used_at_us: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to be booked."""
        return self.row.until_us is not None and self.row.until_us <= self.since_us


class Opened:
    """A fold over decoded journal lines, in their order."""

    def __init__(self) -> None:
        self.going: dict[Place, Going] = {}

    def read(self, said: dict[str, Any]) -> None:
        """One line more."""
        match said["kind"]:
            case "open":
                self._open(said["open"])
            case "charge":
                self._charge(said["charge"])
            case "begin":
                going = self.going.get(("keep_warm", said["attempt"]["deployment"]))
                if going is not None and going.used_at_us is None and not going.row.works:
                    going.used_at_us = said["attempt"]["begun_at_us"]

    def _open(self, row: OpenCharge) -> None:
        place = (row.kind, row.deployment)
        known = self.going.get(place)
        if known is not None and known.began_us == row.since_us:
            known.row = row
        else:
            self.going[place] = Going(row, row.since_us, row.since_us)

    def _charge(self, charge: dict[str, Any]) -> None:
        place = (charge["kind"], charge["deployment"])
        going = self.going.get(place)
        if going is None or charge["period_start_at_us"] < going.since_us:
            return  # it is of an earlier one
        if charge["kind"] == "standing" or charge["rule"] == GOES_ON:
            going.since_us = charge["period_end_at_us"]
        else:
            del self.going[place]


def places_open(path: Path) -> set[Place]:
    """What goes on at the end of a journal file that nobody writes any more."""
    opened = Opened()

    def fold(raw: bytes) -> bool:
        if codec.is_of_kind(raw, b"open") or (
            opened.going and (codec.is_of_kind(raw, b"charge") or codec.is_of_kind(raw, b"begin"))
        ):
            opened.read(codec.decode(raw))
        return False

    _each(path, fold)
    return {place for place, going in opened.going.items() if not going.is_over}


def all_told(places: set[Place], later: Iterable[Path]) -> bool:
    """Whether later files say of each what became of it: that it goes on there, or is over."""
    left = set(places)

    def look(raw: bytes) -> bool:
        said = codec.decode(raw)
        match said["kind"]:
            case "open":
                left.discard((said["open"].kind, said["open"].deployment))
            case "charge":
                left.discard((said["charge"]["kind"], said["charge"]["deployment"]))
            case "begin":
                left.discard(("keep_warm", said["attempt"]["deployment"]))
        return not left

    for path in later:
        if not left:
            break
        _each(path, look)
    return not left


def _each(path: Path, done: Callable[[bytes], bool]) -> None:
    """Each whole line of a file that can be read, until ``done`` says so."""
    offset = 0
    while True:
        raw_lines, offset = read_lines(path, offset, 1000)
        if not raw_lines:
            return
        for raw in raw_lines:
            try:
                if done(raw):
                    return
            except codec.BrokenLine:
                continue
