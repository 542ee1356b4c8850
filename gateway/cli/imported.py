"""The work of ``gateway import``: one writer at a time, a bar meanwhile, what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from gateway.cli.output import print_line, print_report
from gateway.settings import ConfigError, Settings

if TYPE_CHECKING:
    from gateway.history.billed import Booking
    from gateway.history.importing import Importer, Tally
    from gateway.history.rows import Rules
    from gateway.ledger.rows import AttemptRow, ChargeRow
    from gateway.ledger.writing.imports import ImportJournal
    from providers.contract import BilledSum

    ChargesFor: TypeAlias = Callable[[Collection[AttemptRow]], Sequence[ChargeRow]]


def run(
    settings: Settings,
    rules: Rules,
    work: Callable[[Importer], None],
    since: datetime | None,
    charges_for: ChargesFor = lambda rows: (),
) -> Tally:
    """Read, write, ship. Raises ConfigError with words for the operator."""
    from gateway.history.importing import Importer
    from gateway.ledger.writing.imports import Origins

    data_dir = settings.server.data_dir
    with _writing(data_dir) as journal, Origins(data_dir) as origins, _Bar(since) as show:
        importer = Importer(journal, origins, rules, show, charges_for)
        try:
            work(importer)
        finally:
            importer.flush()
    return importer.tally


def book_all(
    settings: Settings, provider: str, reports: Sequence[Sequence[BilledSum]], named: Sequence[str]
) -> Booking:
    """One after the other: each is held against the ledger with those before it."""
    from gateway.history.billed import Booking, book

    whole = Booking()
    for sums in reports:
        with _writing(settings.server.data_dir) as journal:
            booking = book(settings, provider, sums, named)
            journal.write((), booking.charges)
        whole.merge(booking)
    return whole


@contextmanager
def _writing(data_dir: Path) -> Iterator[ImportJournal]:
    """A journal file, while no other import runs and the database is level; shipped afterwards."""
    from gateway.ledger import layout
    from gateway.ledger.errors import LedgerUnavailable
    from gateway.ledger.writing.imports import ImportJournal, bring_in

    data_dir.mkdir(parents=True, exist_ok=True)
    lock = layout.take(data_dir / "import.lock", create=True)
    if lock is None:
        raise ConfigError("another import is at work in this data folder")
    try:
        if not bring_in(data_dir):
            raise ConfigError(
                "the database is behind the journal, so that it is not known what it holds "
                "already; try again"
            )
        try:
            with ImportJournal(data_dir) as journal:
                yield journal
        except LedgerUnavailable as error:
            raise ConfigError(error.detail) from error
        finally:
            shipped = bring_in(data_dir)
    finally:
        os.close(lock)
    if not shipped:
        typer.echo("gateway: the running gateway will bring the rows in shortly", err=True)


class _Bar:
    """A progress bar on a terminal, and nothing elsewhere; a context."""

    def __init__(self, since: datetime | None) -> None:
        self._since = since
        self._began = datetime.now(UTC)
        self._progress: Any = None

    def __enter__(self) -> Callable[[Tally], None]:
        if not sys.stderr.isatty():
            return lambda tally: None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True)
        )
        self._progress.start()
        self._task = self._progress.add_task("reading", total=None if self._since is None else 1.0)
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _show(self, tally: Tally) -> None:
        share = 0.0
        if self._since is not None and tally.oldest_at_us is not None:
            whole = (self._began - self._since).total_seconds()
            share = (self._began.timestamp() - tally.oldest_at_us / 1e6) / whole
        self._progress.update(
            self._task,
            completed=min(1.0, share),
            description=f"{tally.read} read, {tally.added} new",
        )


def report(
    tally: Tally | None, since: datetime | None, form: str, booking: Booking | None = None
) -> None:
    """Say what became of jobs and of billing reports: ``table``, ``json`` or ``csv``."""
    from gateway.clock import rfc3339

    asked = None if since is None else rfc3339(round(since.timestamp() * 1e6))
    said = {} if tally is None else _tally_json(tally, asked)
    if booking is not None:
        said["report"] = _booking_json(booking)
    print_report(form, said, [said], lambda: _show(tally, asked, booking))


def _show(tally: Tally | None, asked: str | None, booking: Booking | None) -> None:
    if tally is not None:
        _print_tally(tally, asked)
    if booking is not None:
        told = _booking_json(booking)
        print_line(
            f"Billing report: {told['reported_usd']} USD in {booking.sums} sums of an app and an "
            f"interval; {told['booked_before_usd']} USD of that were booked. "
            f"{len(booking.charges)} charges added: {told['added_usd']} USD."
        )
        if booking.sums:
            print_line(f"It is of {told['oldest']} to {told['newest']}.")


def _booking_json(booking: Booking) -> dict[str, Any]:
    from gateway.ledger.reports.views import usd

    return {
        "sums": booking.sums,
        "reported_usd": usd(booking.reported_pico_usd),
        "booked_before_usd": usd(booking.booked_pico_usd),
        "charges": len(booking.charges),
        "added_usd": usd(booking.added_pico_usd),
        "oldest": _stamp(booking.oldest_at_us),
        "newest": _stamp(booking.newest_at_us),
    }


def _tally_json(tally: Tally, asked: str | None) -> dict[str, Any]:
    return {
        "read": tally.read,
        "added": tally.added,
        "already_imported": tally.known,
        "went_through_the_gateway": tally.live,
        "unfinished_or_undated": tally.unfinished,
        "strange": tally.strange,
        "by_status": tally.by_status,
        "known_usd": _known_usd(tally),
        "unpriced": tally.unpriced,
        "asked_since": asked,
        "oldest": _stamp(tally.oldest_at_us),
        "newest": _stamp(tally.newest_at_us),
    }


def _known_usd(tally: Tally) -> str | None:
    """Of jobs whose cost nobody knows the sum is not 0: there is none."""
    from gateway.ledger.reports.views import usd

    return usd(tally.known_pico_usd) if tally.unpriced < max(1, tally.added) else None


def _print_tally(tally: Tally, asked: str | None) -> None:
    print_line(
        f"{tally.read} jobs read: {tally.added} added, {tally.known} imported before, "
        f"{tally.live} went through the gateway, {tally.unfinished} unfinished or undated."
    )
    if tally.strange:
        print_line(f"{tally.strange} have figures that cannot be computed with.")
    if tally.added:
        more = f", and {tally.unpriced} whose cost is unknown" if tally.unpriced else ""
        known_usd = _known_usd(tally)
        told = "unknown" if known_usd is None else f"{known_usd} USD{more}"
        print_line(f"Cost of the added: {told}.")
    if tally.oldest_at_us is not None:
        more = "" if asked is None else f"; asked for was {asked}"
        print_line(f"They go back to {_stamp(tally.oldest_at_us)}{more}.")


def _stamp(at_us: int | None) -> str | None:
    from gateway.clock import rfc3339

    return None if at_us is None else rfc3339(at_us)
