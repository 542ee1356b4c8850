"""What a starting gateway has to know of machines that were idle or kept, as the journal says it.

The database may be behind by any time, and a line stays in the journal until it is there.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.ledger import codec
from gateway.ledger.layout import journal_names
from gateway.ledger.reading.uses import MOST_USES, PastUse
from gateway.ledger.rows import ChargeRow
from gateway.ledger.writing.tail import read_lines


@dataclass(frozen=True, slots=True)
class Known:
    """Of one deployment: its uses, its stays (begin and end), ids of the idle gaps that are booked;
    instants in microseconds since the epoch.
    """

    uses: list[PastUse]
    stays: set[tuple[int, int]]
    idle_gaps: set[str]


class Unshipped:
    """A fold over decoded journal lines. Of each deployment the last ``MOST_USES`` are held."""

    def __init__(self) -> None:
        self._uses: dict[str, deque[PastUse]] = defaultdict(_last)
        self._kept: dict[str, deque[ChargeRow]] = defaultdict(_last)
        self._idle_gaps: dict[str, deque[str]] = defaultdict(_last)

    def read(self, said: dict[str, Any]) -> None:
        """One line more."""
        if said["kind"] == "end":
            row = said["attempt"]
            if row["origin"] == "live" and row["completed_at_us"] is not None:
                self._uses[row["deployment"]].append(PastUse.of(row))
        elif said["kind"] == "charge":
            charge = said["charge"]
            if charge["kind"] == "idle":
                self._idle_gaps[charge["deployment"]].append(charge["charge_id"])
            elif charge["kind"] == "keep_warm":
                self._kept[charge["deployment"]].append(ChargeRow(**charge))

    def read_from(self, directory: Path, name: str) -> None:
        """All lines of a journal file, and of those that came after it."""
        for path in (directory / other for other in journal_names(directory) if other >= name):
            offset = 0
            while True:
                raw_lines, offset = read_lines(path, offset, 1000)
                if not raw_lines:
                    break
                for raw in raw_lines:
                    with suppress(codec.BrokenLine):
                        self.read(codec.decode(raw))

    def known(
        self,
        deployment: str,
        since_us: int,
        uses: Iterable[PastUse],
        stays: Iterable[tuple[int, int]],
        idle_gaps: Iterable[str],
    ) -> Known:
        """Together with what the database says: its rows hold later corrections."""
        own = (use for use in self._uses[deployment] if use.begun_at_us >= since_us)
        by_id = {use.attempt_id: use for part in (own, uses) for use in part}
        return Known(
            list(by_id.values()),
            {
                *((row.period_start_at_us, row.period_end_at_us) for row in self._kept[deployment]),
                *stays,
            },
            {*self._idle_gaps[deployment], *idle_gaps},
        )

    def kept(self, deployment: str, since_us: int) -> dict[str, int]:
        """What keeping it warm has cost since then, by charge, in pico-USD."""
        return {
            row.charge_id: row.cost_pico_usd or 0
            for row in self._kept[deployment]
            if row.period_start_at_us >= since_us
        }


def _last() -> deque[Any]:
    return deque(maxlen=MOST_USES)
