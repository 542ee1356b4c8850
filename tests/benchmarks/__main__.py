"""``python -m tests.benchmarks``: measure, print, and fail only when something is broken.

0: everything asked for was measured (whether or not an aim was met). 1: something broke; the
lines that begin with "BROKEN" say what. 2: a program is missing or an option makes no sense.
"""

from __future__ import annotations

import sys

from tests.benchmarks.options import parse
from tests.benchmarks.suite import run

if __name__ == "__main__":
    sys.exit(run(parse()))
