"""The harness from its own door: nginx before nginx, for the two shortest rounds wrk can run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.answers import EVENTS_PER_STREAM
from tests.benchmarks.prerequisites import Missing, require_programs

_ROOT = Path(__file__).parents[2]


def test_quick_run_measures_requests_and_streams_through_nginx(tmp_path: Path) -> None:
    try:
        require_programs("nginx", "wrk")
    except Missing as exc:
        pytest.skip(str(exc))
    figures_file = tmp_path / "figures.json"
    command = [
        *(sys.executable, "-m", "tests.benchmarks", "--quick", "--targets", "nginx"),
        *("--only", "requests,streams", "--round-seconds", "1", "--json", str(figures_file)),
    ]
    run = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    document = json.loads(figures_file.read_text())
    assert document["problems"] == []
    (requests,) = document["sections"]["requests"]["figures"]
    (streams,) = document["sections"]["streams"]["figures"]
    assert requests["requests"] > 100
    assert 0 < requests["p50_seconds"] <= requests["p99_seconds"] < 1
    assert requests["cpu_seconds_per_request"] > 0
    assert streams["requests"] > 10
    assert streams["events_per_second"] == pytest.approx(
        streams["requests_per_second"] * EVENTS_PER_STREAM
    )
    for line in ("requests: ", "streams: ", "nginx "):
        assert f"\n{line}" in run.stdout
