"""``python -m tests.storm``: break everything at random, then hold the ledger against the bills.

Operations go to a chat upstream and a job upstream that fail, stall, cut, limit and boot at
random; callers hang up at random; the gateway is killed with SIGKILL. At the end the ledger is
compared with what the upstreams bill. Exit status 1 where a row is lost, doubled, or not what it
says.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from tests.storm.storm import Storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--operations", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument(
        "--settle-seconds", type=float, default=120.0, help="longest wait for late figures"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    print(f"seed {given.seed}: {given.operations} operations, {given.kills} kills", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(Path(folder), given)
        done = asyncio.run(storm.run())
    print(done.table())
    ledger = sum((row.ledger_usd for row in done.rows.values()), Decimal(0))
    billed = sum((row.billed_usd for row in done.rows.values()), Decimal(0))
    print(f"for their callers: {dict(sorted(storm.outcomes.items()))}")
    print(
        f"{done.operations} operations, {done.attempts} attempts, {storm.calls} calls upstream, "
        f"{done.lost_hedges} lost hedges; "
        f"ledger {ledger:.9f}, billed {billed:.9f} USD; "
        f"{time.monotonic() - began:.0f} s"
    )
    for fault in done.wrong:
        print(f"WRONG  {fault}")
    print(f"{len(done.wrong)} wrong" if done.wrong else "every row is what it says")
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
