"""How long ``gateway serve`` takes to be ready on a ledger that is there.

``python -m tests.benchmarks.ledger_ready --dir FOLDER [--runs 3]``

FOLDER is a data folder, of ``ledger_size`` say; no gateway may run on it. Each run is the time from
the start of the process to the first 200 of ``/readyz``, with one deployment and keys, and the CPU
seconds that it took. Then what a budget of the newest attempt's month reads back, which goes on
beside that. The ledger stays as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import yaml

from gateway.ledger.layout import archive_dir, database_path
from gateway.ledger.months.archive import month_of, span_of
from gateway.ledger.reading.spend import SpendQuery, spent
from tests.benchmarks.ledger_size import say
from tests.benchmarks.process import free_port, running_server

_PROGRAM = Path(sys.executable).with_name("gateway")
_SETTINGS = {
    "auth": {
        "mode": "keys",
        "keys": [{"name": "nobody", "sha256": hashlib.sha256(b"nobody").hexdigest()}],
    },
    "providers": {
        "away": {"kind": "openai_chat", "base_url": "http://127.0.0.1:9/v1", "api_key": "none"}
    },
    "deployments": {
        "one": {
            "provider": "away",
            "model": "none",
            "price": {
                "usd_per_million_input_tokens": "0.05",
                "usd_per_million_output_tokens": "0.08",
            },
        }
    },
    "models": {"one": {"deployments": ["one"]}},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ledger_ready")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    data_dir: Path = given.dir.resolve()
    files = [database_path(data_dir), *archive_dir(data_dir).glob("*.sqlite3")]
    say("gigabytes of the ledger", sum(path.stat().st_size for path in files) / 1e9)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        config = scratch / "gateway.yaml"
        config.write_text(yaml.safe_dump(_SETTINGS))
        for _ in range(given.runs):
            port = free_port()
            command = [
                *(str(_PROGRAM), "serve", "--config", str(config), "--data-dir", str(data_dir)),
                *("--host", "127.0.0.1", "--port", str(port)),
            ]
            with running_server(command, port=port, ready_path="/readyz", scratch=scratch) as one:
                say("seconds from the start to ready", one.ready_seconds)
                cpu_seconds = one.footprint().as_one().cpu_seconds
                say("CPU seconds of the gateway and its shipper by then", cpu_seconds)
    for _ in range(given.runs):
        began = time.process_time()
        spent(data_dir, [SpendQuery(*newest_month(data_dir))], {})
        say("CPU seconds to read back a month's budget", time.process_time() - began)


def newest_month(data_dir: Path) -> tuple[int, int]:
    """Begin and end of the month that the last attempt came in, in microseconds since the epoch."""
    database = sqlite3.connect(f"file:{database_path(data_dir)}?mode=ro", uri=True)
    (at_us,) = database.execute("SELECT max(operation_at_us) FROM attempts").fetchone()
    database.close()
    return span_of(month_of(at_us))


if __name__ == "__main__":
    main()
