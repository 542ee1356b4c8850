"""The shipper: journal files into the database, the log, metrics and traces. A process of its own.

``python -m gateway.ledger.shipper --data-dir DIR [--no-log]`` (and what ``ledger`` and
``telemetry`` in the configuration say) reads ``DIR/journal`` in the order of file names. A database
that is locked, full or away stops it for a while and costs nothing: it goes on where it stood.
Deaths cost nothing either: rows and offset are one transaction. Only log lines and spans follow the
commit, so a kill in between leaves them out.

Standard input is its lifeline: a byte asks it to ship now, the end means that the gateway is gone,
so it ships what is there and ends. On standard output it says how far it is, a line for each batch:
``<file> <offset> <microseconds since the epoch>``; and ``changed <number>`` when corrections have
changed what attempts count for (see ``spend_changes``), and at its start if any ever did.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import orjson

from gateway.ledger import codec, layout
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.months.upkeep import Upkeep
from gateway.ledger.shipping import housekeeping, spend_changes
from gateway.ledger.shipping.fold import Batch, fold
from gateway.ledger.shipping.sinks import MetricSink, TraceSink, metric_sink, trace_sink
from gateway.ledger.shipping.store import OffsetMoved, RejectedRows, Store
from gateway.ledger.writing.tail import read_lines
from gateway.telemetry import JsonFormatter, Metrics, log_line

logger = logging.getLogger(__name__)

_BATCH_LINES = 1000
_IDLE_SECONDS = 0.2
_BUSY_SECONDS = 0.5
_BUSY_LINES_PER_SECOND = 500.0  # what fewer lines cost does not matter
_METRICS_EVERY_SECONDS = 1.0
_METRICS_PAUSES = 20  # so that many series cost a twentieth of the time at most
_TIDY_EVERY_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 2.0
_LAST_PATIENCE_SECONDS = 3.0  # for the database, once the gateway is gone


class Shipper:
    """Ships what is there when told to. ``log`` gets a line of JSON for each finished attempt,
    ``report`` every offset that was reached, ``changed`` the last number of ``spend_changes``.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        log: BinaryIO | None = None,
        traces: TraceSink | None = None,
        exported: MetricSink | None = None,
        report: Callable[[str, int, int], None] = lambda name, offset, at_us: None,
        changed: Callable[[int], None] = lambda number: None,
        rollup_tags: Sequence[str] | None = None,
        keep_days: int | None = None,
        busy_timeout_seconds: float = 1.0,
    ) -> None:
        self._data_dir = data_dir
        self._rollup_tags = rollup_tags
        self._upkeep = Upkeep(
            data_dir, keep_days=keep_days, busy_timeout_seconds=busy_timeout_seconds
        )
        self._directory = layout.journal_dir(data_dir)
        self._log = log
        self._traces = traces
        self._exported = exported
        self._report = report
        self._changed = changed
        self._last_change = 0
        self._busy_timeout_seconds = busy_timeout_seconds
        self._metrics = Metrics()
        self._metrics_changed = True
        self._metrics_at = 0.0
        self._tidy_at = 0.0
        self._housekeeper = housekeeping.Housekeeper(self._directory)
        self._store: Store | None = None
        self._store_file: tuple[int, int] | None = None
        self._offsets: dict[str, int] = {}

    def ship(self) -> int:
        """Ship every line that is there now; returns how many. Raises StoreUnavailable."""
        try:
            return sum(self._ship_file(name) for name in layout.journal_names(self._directory))
        except StoreUnavailable:
            self.close()  # a fresh connection next time, and the offsets as they are there
            raise

    def tidy(self, *, now: bool = False) -> None:
        """Write the metrics and delete what is not needed any more, each about once a second."""
        monotonic = time.monotonic()
        if self._metrics_changed and (now or monotonic >= self._metrics_at):
            self._metrics_changed = not housekeeping.write_whole(
                layout.metrics_path(self._data_dir), self._metrics.exposition()
            )
            ended = time.monotonic()
            pause = max(_METRICS_EVERY_SECONDS, _METRICS_PAUSES * (ended - monotonic))
            self._metrics_at = ended + pause
        if self._traces is not None:
            self._traces.tick()
        if self._exported is not None:
            self._exported.tick(self._metrics.families)
        if now or monotonic >= self._tidy_at:
            self._tidy_at = monotonic + _TIDY_EVERY_SECONDS
            self._housekeeper.delete_shipped(self._opened(), self._offsets)

    def upkeep(self) -> int:
        """A step of what ``upkeep`` does; how many rows it has moved, 0 when nothing is to be done.

        What it cannot do it tries again after a minute: a month that is spoilt must not hold up
        the lines.
        """
        try:
            return self._upkeep.step(self._opened())
        except (StoreUnavailable, RejectedRows) as error:
            logger.error("shipper: upkeep of the ledger goes on in a minute: %s", error)
            self._upkeep.rest()
            return 0

    def end(self) -> None:
        """Nothing comes any more: what is told elsewhere is told for the last time."""
        self.close()
        if self._traces is not None:
            self._traces.close()
        if self._exported is not None:
            self._exported.close(self._metrics.families)

    def close(self) -> None:
        """Let go of the database; the next ``ship`` connects again."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _opened(self) -> Store:
        database = layout.database_path(self._data_dir)
        if self._store is not None and self._store_file != _identity(database):
            self.close()  # moved or deleted under us: never write into what nobody will read
        if self._store is None:
            self._store = Store.open(
                database,
                rollup_tags=self._rollup_tags,
                busy_timeout_seconds=self._busy_timeout_seconds,
            )
            self._store_file = _identity(database)
            shipped = self._store.shipped()
            self._offsets = {name: offset for name, (offset, _) in shipped.items()}
            for name, (offset, at_us) in list(shipped.items())[-64:]:
                self._report(name, offset, at_us)
            with self._store.transaction() as connection:
                self._say_change(spend_changes.newest(connection))
        return self._store

    def _ship_file(self, name: str) -> int:
        """All whole lines up to where the file ends now, so that a busy file starves no other."""
        store = self._opened()
        path = self._directory / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return 0
        shipped = 0
        while (start := self._offsets.get(name, 0)) < size:
            raw_lines, end = read_lines(path, start, _BATCH_LINES)
            if not raw_lines:
                break
            try:
                self._ship_batch(store, name, start, end, raw_lines)
            except OffsetMoved:
                self._offsets[name] = store.shipped().get(name, (0, 0))[0]
            except RejectedRows:
                self._ship_singly(store, name, start, raw_lines)
            shipped += len(raw_lines)
        return shipped

    def _ship_batch(
        self, store: Store, name: str, start: int, end: int, raw_lines: Sequence[bytes]
    ) -> None:
        said, broken = codec.decode_batch(raw_lines)
        batch = fold(said)
        count, rejected = len(raw_lines), len(broken)
        at_us = store.apply(name, start, end, batch, lines=count, rejected_lines=rejected)
        for error in broken:
            logger.error("shipper: a broken line in %s before byte %d: %s", name, end, error)
        self._offsets[name] = end
        self._tell(batch)
        self._report(name, end, at_us)
        self._say_change(store.last_change)

    def _ship_singly(self, store: Store, name: str, start: int, raw_lines: Sequence[bytes]) -> None:
        """The database refuses some row of these: find it, leave it out, keep the others."""
        for raw in raw_lines:
            end = start + len(raw) + 1
            try:
                self._ship_batch(store, name, start, end, [raw])
            except RejectedRows as error:
                logger.error("shipper: %s byte %d: row refused: %s", name, start, error)
                at_us = store.apply(name, start, end, fold([]), lines=1, rejected_lines=1)
                self._offsets[name] = end
                self._report(name, end, at_us)
            except OffsetMoved:
                self._offsets[name] = store.shipped().get(name, (0, 0))[0]
                return
            start = end

    def _say_change(self, number: int) -> None:
        if number > self._last_change:
            self._last_change = number
            self._changed(number)

    def _tell(self, batch: Batch) -> None:
        live = [row for row in batch.ended.values() if row["origin"] == "live"]
        for row in live:
            self._metrics.observe(row)
        for charge in batch.charges.values():
            self._metrics.observe_charge(charge)
        self._metrics_changed = self._metrics_changed or bool(live or batch.charges)
        if self._traces is not None:
            self._traces.observe(batch)
        if self._log is not None and live:
            try:
                self._log.write(b"".join(orjson.dumps(log_line(row)) + b"\n" for row in live))
                self._log.flush()
            except OSError:
                self._log = None  # nobody reads it any more


class Lifeline:
    """The gateway at the other end of a descriptor: ``ended`` once it has closed it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.ended = False

    def wait(self, seconds: float) -> None:
        """Sleep, at most so long: a byte or the end cuts it short."""
        if self.ended:
            time.sleep(seconds)
        elif select.select([self._fd], [], [], seconds)[0]:
            self.ended = not os.read(self._fd, 1 << 16)


def run(shipper: Shipper, lifeline: Lifeline) -> bool:
    """Ship until the gateway is gone. False if lines had to be left in the journal."""
    pause_seconds = 0.0
    give_up_at: float | None = None
    looked_at = time.monotonic()
    while True:
        ending = lifeline.ended
        since, looked_at = looked_at, time.monotonic()
        try:
            moved = shipper.ship()
            if pause_seconds:
                logger.warning("shipper: the database is back")
                pause_seconds = 0.0
            shipper.tidy(now=ending)
            if ending and not moved:
                return True
            if not ending:
                began = time.monotonic()
                busy = shipper.upkeep()
                # Half of the time at most is for that; a nudge cuts the pause short.
                spent = time.monotonic() - began
                idle_seconds = idle_pause_seconds(moved, looked_at - since)
                lifeline.wait(min(spent, idle_seconds) if busy else idle_seconds)
        except StoreUnavailable as error:
            if ending:
                give_up_at = give_up_at or time.monotonic() + _LAST_PATIENCE_SECONDS
                if time.monotonic() > give_up_at:
                    logger.error("shipper: lines stay in the journal: %s", error)
                    return False
            if not pause_seconds:
                logger.warning("shipper: the database cannot be written: %s", error)
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2 or 0.05)
            lifeline.wait(min(pause_seconds, 0.2) if ending else pause_seconds)


def idle_pause_seconds(lines: int, in_seconds: float) -> float:
    """How long to leave lines in the journal when so many have come in such a time.

    Each of a small batch costs up to twice as much, for its transaction and for the sums of which
    each gets little; many come together in half a second.
    """
    return _BUSY_SECONDS if lines >= _BUSY_LINES_PER_SECOND * in_seconds else _IDLE_SECONDS


def _only_one(data_dir: Path, lifeline: Lifeline) -> bool:
    """Wait for the shipper of an earlier gateway to end. False if ours ends first."""
    while layout.take(data_dir / "shipper.lock", create=True) is None:
        if lifeline.ended:
            return False
        lifeline.wait(0.05)
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """The process. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gateway.ledger.shipper")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--no-log", action="store_true", help="no line for each attempt on stderr")
    parser.add_argument("--rollup-tag", action="append", default=[], metavar="NAME")
    parser.add_argument("--keep-days", type=int, help="delete months that are older")
    parser.add_argument("--otlp-endpoint", help="send spans there; needs the extra otel")
    parser.add_argument("--otlp-metrics-endpoint", help="send metrics there; likewise")
    parser.add_argument("--service-name", default="inference-gateway", help="their service.name")
    arguments = parser.parse_args(argv)
    data_dir: Path = arguments.data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    os.nice(10)  # answering requests comes first
    # The lifeline says when to end. A service manager may signal every process of the service at
    # once, while the gateway still has attempts to book.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # a batch is thousands of dicts and no cycle

    lifeline = Lifeline(sys.stdin.fileno())
    if not _only_one(data_dir, lifeline):
        return 0
    shipper = Shipper(
        data_dir,
        log=None if arguments.no_log else sys.stderr.buffer,
        traces=trace_sink(arguments.otlp_endpoint, arguments.service_name),
        exported=metric_sink(arguments.otlp_metrics_endpoint, arguments.service_name),
        report=_say_offset,
        changed=_say_change,
        rollup_tags=arguments.rollup_tag,
        keep_days=arguments.keep_days,
    )
    try:
        return 0 if run(shipper, lifeline) else 1
    except SchemaMismatch as error:
        logger.error("shipper: %s", error)
        return 2
    finally:
        shipper.end()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _say_offset(name: str, offset: int, at_us: int) -> None:
    _say(f"{name} {offset} {at_us}")


def _say_change(number: int) -> None:
    _say(f"changed {number}")


def _say(line: str) -> None:
    try:
        os.write(1, f"{line}\n".encode())
    except OSError:
        logger.debug("shipper: nobody reads the offsets")


if __name__ == "__main__":
    sys.exit(main())
