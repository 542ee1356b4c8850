"""A small storm in the suite; ``make storm`` is the large one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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
