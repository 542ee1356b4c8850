"""Are cold starts detected? ``python -m tests.benchmarks.detection --attempts 10000``.

One gateway process before emulators (Replicate, Modal, Hugging Face), a real Potassium server and
the embedded model, which know what each call really was. Calls are mixed at random, seeded: to
machines that are up and to such that have just gone, streamed and not. For each provider: precision
and recall of "cold" where the wire carries evidence, where an unknown verdict on a cold call counts
as missed; of deployments whose wire carries none, what was claimed all the same (it must be
nothing); and the calibration error of the gateway's own P(warm), beside what chance alone makes of
right ones in 95 of 100 runs.

The real servers boot for real, and take few of the calls.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.acceptance.six_providers import Six, six_providers
from tests.acceptance.stages import BODY

SHARES = {
    "replicate": 0.24,
    "runpod": 0.10,
    "huggingface": 0.27,
    "held": 0.21,
    "modal": 0.08,
    "generator": 0.08,
    "banana": 0.01,
    "local": 0.01,
}
"""Of all calls: who answers sooner gets more of them, and who boots for real the fewest."""
_SILENT = {
    "replicate": "replicate-quick",
    "runpod": "runpod-blind",
    "modal": "modal-silent",
    "huggingface": "router",
}
"""Deployments whose wire carries no evidence, asked between the others of their provider."""
_SILENT_SHARE = 0.1
_COLD_SHARE = 0.25
_LEAST = 0.99
_MOST_ERROR = 0.05
_FEWEST_PREDICTIONS = 500  # the first ones are made before anything was learned
# Who shares a world, and so a clock, takes turns.
_TURNS = (
    *(("replicate",), ("runpod",), ("modal", "generator"), ("huggingface", "held")),
    *(("banana",), ("local",)),
)


@dataclass
class Tally:
    """Truth against verdicts: (cold?, verdict) -> calls; verdicts where there is no evidence."""

    calls: Counter[tuple[bool, str]] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    calibration_error: float | None = None
    error_by_chance: float | None = None
    predictions: int = 0

    def precision(self) -> float | None:
        """Of those called cold, how many were."""
        right, wrong = self.calls[True, "cold"], self.calls[False, "cold"]
        return right / (right + wrong) if right + wrong else None

    def recall(self) -> float | None:
        """Of the cold ones, how many were called so."""
        missed = self.calls[True, "warm"] + self.calls[True, "unknown"]
        found = self.calls[True, "cold"]
        return found / (found + missed) if found + missed else None

    def problems(self) -> list[str]:
        """What falls short."""
        found = []
        for name, value in (("precision", self.precision()), ("recall", self.recall())):
            if value is not None and value < _LEAST:
                found.append(f"{name} {value:.4f} is below {_LEAST}")
        claimed = self.silent.total() - self.silent["unknown"]
        if claimed:
            found.append(f"{claimed} claims without evidence")
        error = self.calibration_error or 0.0
        known = self.predictions >= _FEWEST_PREDICTIONS
        if known and error > max(_MOST_ERROR, self.error_by_chance or 0.0):
            found.append(f"calibration error {error:.4f} is above {_MOST_ERROR}")
        return found


def detect(six: Six, attempts: dict[str, int], seed: int) -> dict[str, Tally]:
    """Make the calls, providers with worlds of their own side by side."""
    tallies = {name: Tally() for name in attempts}
    failures: list[BaseException] = []

    def turns(names: Sequence[str]) -> None:
        dice = random.Random(f"{seed}-{names[0]}")
        left = [name for name in names for _ in range(attempts.get(name, 0))]
        dice.shuffle(left)
        try:
            for name in sorted(set(left)):
                six.stage(name).rest()  # which sets how long it boots, too
            for name in left:
                _call(six, name, dice, tallies[name])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=turns, args=(names,)) for names in _TURNS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    told = {row["deployment"]: row for row in six.gateway.get("/v1/warmth")["data"]}
    for name, tally in tallies.items():
        quality = told[six.stage(name).model]["calibration"]
        tally.calibration_error, tally.predictions = quality["error"], quality["predictions"]
        tally.error_by_chance = quality["error_by_chance"]
    return tallies


def _call(six: Six, name: str, dice: random.Random, tally: Tally) -> None:
    stage = six.stage(name)
    if dice.random() < _SILENT_SHARE and name in _SILENT:
        stage.rest()  # warm, Replicate's stamps would prove it
        tally.silent[_verdict(six, _SILENT[name], stream=dice.random() < 0.5)[0]] += 1
        return
    if dice.random() < _COLD_SHARE:
        stage.rest()
    with stage.asked():
        verdict, answer = _verdict(six, stage.model, stream=dice.random() < 0.5)
    tally.calls[stage.truth(answer).cold, verdict] += 1


def _verdict(six: Six, model: str, *, stream: bool) -> tuple[str, Any]:
    body = {**BODY, "model": model}
    if stream:
        with six.gateway.stream(**body) as events:
            name, answer = list(events)[-1]
        assert name == "finished", answer
    else:
        answer = six.gateway.call("POST", "/v1/generate", body).json
        assert answer.get("status") == "succeeded", answer
    return answer["cold_start"]["verdict"], answer


def shares(attempts: int, providers: Sequence[str]) -> dict[str, int]:
    """How many of the calls each provider gets."""
    whole = sum(SHARES[name] for name in providers)
    return {name: max(2, round(attempts * SHARES[name] / whole)) for name in providers}


def show(tallies: dict[str, Tally]) -> Table:
    """The table."""
    columns = ("provider", "calls", "cold", "warm", "unknown", "precision", "recall")
    silent = ("no evidence", "of them claimed")
    table = Table(*columns, *silent, "calibration error", "by chance up to", "of predictions")
    for name, tally in tallies.items():
        cold = sum(count for (truth, _), count in tally.calls.items() if truth)
        unknown = tally.calls[True, "unknown"] + tally.calls[False, "unknown"]
        figures = (tally.precision(), tally.recall())
        table.add_row(
            *(name, str(tally.calls.total()), str(cold), str(tally.calls.total() - cold)),
            str(unknown),
            *("-" if value is None else f"{value:.4f}" for value in figures),
            str(tally.silent.total()),
            str(tally.silent.total() - tally.silent["unknown"]),
            *(
                "-" if error is None else f"{error:.4f}"
                for error in (tally.calibration_error, tally.error_by_chance)
            ),
            str(tally.predictions),
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where something falls short."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.detection", description=__doc__
    )
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--providers", default=",".join(SHARES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    attempts = shares(options.attempts, options.providers.split(","))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, six_providers(Path(folder)) as six:
        tallies = detect(six, attempts, options.seed)
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(show(tallies))
    console.print(
        f"{sum(attempts.values())} calls in {time.monotonic() - began:.0f} s", style="dim"
    )
    problems = {name: found for name, tally in tallies.items() if (found := tally.problems())}
    for name, found in problems.items():
        console.print(f"{name}: {'; '.join(found)}", style="red")
    if options.json is not None:
        figures = {
            name: {
                "precision": tally.precision(),
                "recall": tally.recall(),
                "calls": {f"{cold}:{verdict}": n for (cold, verdict), n in tally.calls.items()},
                "silent": dict(tally.silent),
                "calibration_error": tally.calibration_error,
                "error_by_chance": tally.error_by_chance,
                "predictions": tally.predictions,
            }
            for name, tally in tallies.items()
        }
        options.json.write_text(json.dumps(figures, indent=2))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
