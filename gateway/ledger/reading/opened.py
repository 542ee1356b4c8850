"""Charges that were going on when a gateway's journal ended: for the next start, which books them.

An attempt that begins at a deployment ends what kept that warm: it was of use. The charge that says
so is written after that; if death came first, the begin is all that there is. What the provider
holds on while it works is written between the two: so of one deployment there may be a stay that
was used and is not booked, and another that goes on.

The journal keeps the same fold of what it writes, so that a new file can begin with what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from gateway.ledger import codec
from gateway.ledger.rows import OpenCharge
from gateway.ledger.stay_rules import GOES_ON, REST
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
    def is_booked(self) -> bool:
        """Whether it has ended, and nothing of it is left to be booked."""
        ends_us = [at_us for at_us in (self.row.until_us, self.used_at_us) if at_us is not None]
        # One of which something is booked has a last word to come, if only that it has ended.
        return bool(ends_us) and min(ends_us) <= self.since_us == self.began_us

    def told(self) -> OpenCharge:
        """A row that says all of it by itself."""
        return replace(self.row, told_us=self.since_us, used_at_us=self.used_at_us)


@dataclass(slots=True)
class Opened:
    """A fold over journal lines, in their order. ``going``: what goes on; ``used``: what a request
    has ended, and what is not booked.
    """

    going: dict[Place, Going] = field(default_factory=dict)
    used: dict[Place, Going] = field(default_factory=dict)

    def read(self, said: dict[str, Any]) -> None:
        """One decoded line more."""
        match said["kind"]:
            case "open":
                self.open(said["open"])
            case "charge":
                charge = said["charge"]
                place = (charge["kind"], charge["deployment"])
                period_us = (charge["period_start_at_us"], charge["period_end_at_us"])
                self.charge(place, period_us, charge["rule"])
            case "begin":
                attempt = said["attempt"]
                self.begin(attempt["deployment"], attempt["begun_at_us"])

    def open(self, row: OpenCharge) -> None:
        """Time costs from ``row.since_us`` on, or more is known of it."""
        place, said = (row.kind, row.deployment), replace(row, told_us=None, used_at_us=None)
        for told in (self.used, self.going):
            known = told.get(place)
            if known is not None and known.began_us == row.since_us:
                break
        else:
            told, known = self.going, self.going.get(place)
            if known is not None and known.used_at_us is not None and not known.is_booked:
                self.used[place] = known
            known = self.going[place] = Going(said, row.since_us, row.since_us)
        known.row = said
        known.since_us = max(known.since_us, row.told_us or 0)
        known.used_at_us = known.used_at_us or row.used_at_us
        if row.until_us is not None and row.until_us <= known.since_us:
            del told[place]

    def charge(self, place: Place, period_us: tuple[int, int], rule: str) -> None:
        """Some of it is booked, or the last of it."""
        told = self.used if place in self.used else self.going
        known = told.get(place)
        if known is None or rule == REST or period_us[0] < known.since_us:
            return  # it is of an earlier one, or of none
        if place[0] == "standing" or rule == GOES_ON:
            known.since_us = period_us[1]
        else:
            del told[place]

    def begin(self, deployment: str, at_us: int) -> None:
        """An attempt begins there."""
        known = self.going.get(("keep_warm", deployment))
        if known is not None and known.used_at_us is None and not known.row.works:
            known.used_at_us = at_us

    def left(self) -> Iterator[OpenCharge]:
        """All that is left, as lines that say it anew."""
        for told in (self.used, self.going):
            yield from (known.told() for known in told.values())


class Told:
    """What went on at the end of a journal file that nobody writes any more, and whether later
    files say all that is left of it.
    """

    def __init__(self, path: Path) -> None:
        self._opened = Opened()
        for _ in _each(path, self._opened):
            pass

    def by(self, later: Sequence[Path]) -> bool:
        """Whether these files, by themselves, leave to be booked what they leave after this one."""
        after, alone = deepcopy(self._opened), Opened()
        if after == alone:
            return True
        return any(after == alone for path in later for _ in _each(path, after, alone))


def _each(path: Path, *told: Opened) -> Iterator[None]:
    """Tell of each line of a file that says something of charges that go on."""
    offset = 0
    while True:
        raw_lines, offset = read_lines(path, offset, 1000)
        if not raw_lines:
            return
        for raw in raw_lines:
            going = any(one.going or one.used for one in told)
            if codec.is_of_kind(raw, b"open") or (
                going and (codec.is_of_kind(raw, b"charge") or codec.is_of_kind(raw, b"begin"))
            ):
                with suppress(codec.BrokenLine):
                    said = codec.decode(raw)
                    for one in told:
                        one.read(said)
                yield
