"""Jobs into the ledger, a batch at a time: each once, and none that went through a gateway."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from gateway.history.rows import Rules, imported
from gateway.ledger.rows import AttemptRow, ChargeRow
from gateway.ledger.writing.imports import ImportJournal, Origins
from providers.contract import JobReport

logger = logging.getLogger(__name__)

BATCH = 100
_AROUND_US = 2 * 3600 * 1_000_000  # a live operation may be older than its last job


@dataclass(slots=True)
class Tally:
    """What has become of the jobs that were read."""

    read: int = 0
    added: int = 0
    known: int = 0
    """Imported before."""
    live: int = 0
    """They went through the gateway: its own row is the better one."""
    unfinished: int = 0
    """They still run; or nothing says when they were made."""
    strange: int = 0
    """Their figures cannot be computed with."""
    unpriced: int = 0
    known_pico_usd: int = 0
    oldest_at_us: int | None = None
    newest_at_us: int | None = None
    by_status: dict[str, int] = field(default_factory=dict)

    def add(self, row: AttemptRow) -> None:
        """Count a row that was written."""
        self.added += 1
        self.unpriced += row.cost_pico_usd is None
        self.known_pico_usd += row.known_pico_usd
        self.by_status[row.status] = self.by_status.get(row.status, 0) + 1


class Importer:
    """Takes jobs in the order in which they come; nothing is kept but the present batch."""

    def __init__(
        self,
        journal: ImportJournal,
        origins: Origins,
        rules: Rules,
        after_batch: Callable[[Tally], None] = lambda tally: None,
        charges_for: Callable[[Collection[AttemptRow]], Sequence[ChargeRow]] = lambda rows: (),
    ) -> None:
        self.tally = Tally()
        self._journal = journal
        self._origins = origins
        self._rules = rules
        self._after_batch = after_batch
        self._charges_for = charges_for
        self._batch: list[JobReport] = []
        self._before: set[str] = set()  # of the batch before: pages of a list may overlap

    @property
    def pending(self) -> int:
        """Jobs that were taken in and are not written yet."""
        return len(self._batch)

    def take(self, report: JobReport) -> None:
        """Take in one job."""
        self._batch.append(report)
        if len(self._batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write down what was taken in. Raises LedgerUnavailable, StoreUnavailable."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        rows = self._rows(batch)
        if rows:
            times = [row.begun_at_us for row in rows.values()]
            since_us, until_us = min(times) - _AROUND_US, max(times) + _AROUND_US
            known = self._origins.of(list(rows), since_us, until_us)
            for job_id, origin in known.items():
                del rows[job_id]
                if origin == "live":
                    self.tally.live += 1
                else:
                    self.tally.known += 1
            self._journal.write(rows.values(), self._charges_for(rows.values()))
            for row in rows.values():
                self.tally.add(row)
        self._after_batch(self.tally)

    def _rows(self, batch: Sequence[JobReport]) -> dict[str, AttemptRow]:
        tally, rows = self.tally, {}
        for report in batch:
            tally.read += 1
            try:
                row = imported(report, self._rules)
            except Exception:
                logger.exception("job %s cannot be booked", report.job_id)
                tally.strange += 1
                continue
            if row is None:
                tally.unfinished += 1
                continue
            at_us = row.begun_at_us
            tally.oldest_at_us = min(at_us, tally.oldest_at_us or at_us)
            tally.newest_at_us = max(at_us, tally.newest_at_us or at_us)
            if report.job_id in self._before:
                tally.known += 1
                continue
            rows[report.job_id] = row
        self._before = {report.job_id for report in batch}
        return rows
