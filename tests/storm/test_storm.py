"""Small storms in the suite; ``make storm`` and ``python -m tests.storm.hedges`` are large ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.storm import hedges

ROOT = Path(__file__).parents[2]


def test_a_small_storm_leaves_every_row_as_it_says() -> None:
    command = [sys.executable, "-m", "tests.storm", "--operations", "150", "--kills", "1"]
    done = subprocess.run(
        [*command, "--settle-seconds", "0"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every row is what it says" in done.stdout
    found = re.search(
        r"^(\d+) operations, (\d+) attempts, (\d+) calls upstream, (\d+)", done.stdout, re.M
    )
    assert found is not None and min(map(int, found.groups()[:3])) > 100, done.stdout
    assert int(found[4]) > 0, "no hedge was lost"


def test_losers_are_cancelled_and_booked_and_cost_no_more_than_stated(tmp_path: Path) -> None:
    operations = 300
    found = hedges.play(tmp_path, operations)
    assert found.wrong == []
    assert found.lost > operations / 10, "hardly anything was hedged"
