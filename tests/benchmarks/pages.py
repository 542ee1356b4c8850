"""``python -m tests.benchmarks.pages``: how long the dashboard's pages take over many attempts.

Makes a ledger (``ledger_size``: a month of eight deployments and ten keys) in ``--dir`` if there is
none, serves it, asks for every page twice and prints the seconds until it is there, and those of
the gateway's processors; a table's CSV as well. Exit status 1 where a page takes more than
``--most-seconds`` of a processor the second time: on a machine that does nothing else it is there
in less.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import httpx
import psutil
import yaml

from gateway.ledger.care.inspect import info
from gateway.ledger.layout import database_path
from tests.acceptance.gateways import Gateway, serving, until
from tests.benchmarks.ledger_size import make, upgrade

PAGES = (
    *("", "/cost?last=30d", "/cost?last=30d&group_by=deployment", "/cost?last=7d&bucket_width=1h"),
    *("/operations?last=30d", "/operations?last=30d&status=failed&deployment=deployment-3"),
    *("/operations?last=30d&cost_status=estimated", "/operations?last=30d&line=boot_seconds"),
    *("/operations?last=30d&sample=boot&status=ended", "/operations?last=30d&hour=3"),
    *("/charges?last=30d", "/charges?last=30d&kind=idle&cost_status=estimated"),
    *("/charges?last=30d&model=model-0&deployment=deployment-3", "/prices"),
    *("/operations/{id}", "/cold-starts?last=30d", "/cold-starts.csv?last=30d&rows=hours"),
    *("/cold-starts?last=30d&deployment=deployment-3", "/keep-warm", "/playground"),
    "/compare?model=model-0&last=30d",
)
_UPGRADE_SECONDS = 3600.0  # a ledger of an earlier release is summed up first


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pages")
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--most-seconds", type=float, default=1.0)
    given = parser.parse_args()
    folder: Path = given.dir / f"pages-{given.attempts}"
    if not database_path(folder).exists():
        folder.mkdir(parents=True)
        make(folder, given.attempts, time.time_ns() // 1000)
        upgrade(folder)
    config = given.dir / "pages.yml"
    config.write_text(yaml.safe_dump(configuration()))
    with serving(config, folder, given.dir / "pages.log") as gateway:
        until(lambda: info(folder)["rollups_complete"], _UPGRADE_SECONDS)
        slow = ask(gateway, given.most_seconds)
    sys.exit(1 if slow else 0)


def configuration() -> dict[str, object]:
    """The deployments of the ledger, at a server that nobody asks."""
    names = [f"deployment-{number}" for number in range(8)]
    price = {"usd_per_second": "0.0001", "bills": ["execute", "boot", "idle"]}
    return {
        "providers": {"own": {"kind": "openai_chat", "base_url": "http://127.0.0.1:9/v1"}},
        "deployments": {
            name: {"provider": "own", "model": name, "price": price, "idle_window_seconds": 300}
            for name in names
        },
        "models": {f"model-{n}": {"deployments": names[n::3]} for n in range(3)},
    }


def ask(gateway: Gateway, most_seconds: float) -> list[str]:
    """Every page; those that were too slow."""
    slow = []
    process = psutil.Process(gateway.process.pid)

    def worked_seconds() -> float:
        used = process.cpu_times()
        return used.user + used.system

    with httpx.Client(base_url=gateway.url, timeout=120) as client:
        answer = client.get("/v1/operations", params={"limit": 1})
        assert answer.status_code == 200, answer.text
        (newest,) = answer.json()["data"]
        for page in PAGES:
            path = "/dashboard" + page.format(id=newest["id"])
            for which in ("first", "again"):
                began, before = time.perf_counter(), worked_seconds()
                answer = client.get(path)
                seconds, worked = time.perf_counter() - began, worked_seconds() - before
                assert answer.status_code == 200, (path, answer.text[:300])
                print(f"{path:64s} {which:6s} {seconds:8.3f} s {worked:8.3f} s of processor")
            if worked > most_seconds:
                slow.append(path)
    return slow


if __name__ == "__main__":
    main()
