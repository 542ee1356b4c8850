"""The command line of ``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.targets import GATEWAY, NGINX

REQUESTS, STREAMS, STARTUP, MEMORY = SECTIONS = ("requests", "streams", "startup", "memory")

# Longer runs say more; --quick says only whether everything works.
_FULL = {
    "rounds": 5,
    "round_seconds": 5,
    "warm_up_seconds": 2,
    "startup_runs": 5,
    "memory_requests": 100_000,
}
_QUICK = {
    "rounds": 1,
    "round_seconds": 2,
    "warm_up_seconds": 0,
    "startup_runs": 1,
    "memory_requests": 3_000,
}


@dataclass(frozen=True)
class Options:
    """What to measure, for how long, and against whom."""

    only: tuple[str, ...]
    targets: tuple[str, ...]
    connections: int
    rounds: int
    round_seconds: int
    warm_up_seconds: int
    startup_runs: int
    memory_requests: int
    peers: bool
    litellm_python: Path | None
    portkey_dir: Path | None
    json_file: Path | None


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Options from the arguments; a number that was given wins over --quick."""
    parsed = _parser().parse_args(arguments)
    numbers = _QUICK if parsed.quick else _FULL
    for name, default in numbers.items():
        if getattr(parsed, name) is None:
            setattr(parsed, name, default)
    return Options(
        only=parsed.only,
        targets=parsed.targets,
        connections=parsed.connections,
        rounds=parsed.rounds,
        round_seconds=parsed.round_seconds,
        warm_up_seconds=parsed.warm_up_seconds,
        startup_runs=parsed.startup_runs,
        memory_requests=parsed.memory_requests,
        peers=parsed.peers or parsed.litellm_python is not None or parsed.portkey_dir is not None,
        litellm_python=parsed.litellm_python,
        portkey_dir=parsed.portkey_dir,
        json_file=parsed.json,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure the gateway on this machine, beside nginx and, with --peers, others.",
    )
    add = parser.add_argument
    add("--only", type=_some_of(SECTIONS), default=SECTIONS, metavar="SECTION,...",
        help=f"of {', '.join(SECTIONS)} (default: all)")  # fmt: skip
    add("--targets", type=_some_of((NGINX, GATEWAY)), default=(NGINX, GATEWAY),
        metavar="TARGET,...", help="of nginx, gateway (default: both)")  # fmt: skip
    add("--peers", action="store_true", help="measure LiteLLM and Portkey too, where installed")
    add("--litellm-python", type=Path, metavar="PATH",
        help="python of the venv that has litellm[proxy] (default: litellm on PATH)")  # fmt: skip
    add("--portkey-dir", type=Path, metavar="DIR",
        help="folder of the node package @portkey-ai/gateway")  # fmt: skip
    add("--connections", type=_at_least(1), default=10, help="(default: 10)")
    add("--rounds", type=_at_least(1), help="interleaved rounds (default: 5)")
    add("--round-seconds", type=_at_least(1), help="of load for each target (default: 5)")
    add("--warm-up-seconds", type=_at_least(0), help="of load not counted (default: 2)")
    add("--startup-runs", type=_at_least(1), help="(default: 5)")
    add("--memory-requests", type=_at_least(2_000), help="(default: 100000)")
    add("--quick", action="store_true", help="one short round: a smoke test, not a measurement")
    add("--json", type=Path, metavar="FILE", help="write every figure there as well")
    return parser


def _some_of(allowed: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def some(text: str) -> tuple[str, ...]:
        chosen = tuple(part.strip() for part in text.split(","))
        unknown = [part for part in chosen if part not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(allowed)}")
        return chosen

    return some


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return whole_number
