"""An own replica beside a deployment that is paid by use: away and back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from providers.contract import Booting, Delta, Finished, Started, Usage
from providers.testing import Wait
from tests.gateway_app.gateways import eventually, running_gateway

WARM = (Started(evidence="scale_state"), Delta("hi"), Finished(("stop",), Usage(10, 20)))
BOOTS = (Booting("phase_reported", caused_boot=True), Wait(0.3), Started(), *WARM[1:])
OWN = {"usd_per_second": "0.0001", "bills": ["execute", "boot", "idle"]}


def test_requests_spill_while_the_own_one_boots_and_come_back(tmp_path: Path) -> None:
    def deployment(name: str, price: Any, **more: Any) -> dict[str, Any]:
        return {"provider": "scripted", "model": name, "price": price, **more}

    names = ["own", "cheap", "dear"]
    tree = {
        "deployments": {
            # its price says nothing of the boot, and its use of a replica that is up is paid for
            "own": deployment("own", OWN, idle_window_seconds=60),
            "cheap": deployment("cheap", {"usd_per_request": "0.0001"}, keep_alive_seconds=60),
            "dear": deployment("dear", {"usd_per_request": "1"}, keep_alive_seconds=60),
        },
        "models": {
            "cheap": {"deployments": ["own", "cheap"]},
            "dear": {"deployments": ["own", "dear"]},
        },
    }
    with running_gateway(tree, tmp_path) as gateway:
        for name in names:
            gateway.scripts.only(name, WARM)
        for name in ("cheap", "dear"):
            gateway.answer(f"deployment:{name}")
        gateway.scripts.only("own", BOOTS, WARM)
        booting = threading.Thread(target=gateway.answer, args=("deployment:own",))
        booting.start()
        eventually(lambda: gateway.get("/v1/deployments")["data"][0]["state"] == "booting")
        spilt = gateway.answer("cheap")
        assert spilt["deployment"] == "cheap"
        # a dollar is more than the wait for its boot is worth
        told = gateway.answer("dear", dry_run=True)
        assert told["order"] == ["own", "dear"]
        booting.join()
        back = gateway.answer("cheap")
        assert back["deployment"] == "own"
        # what a second of it costs is paid for, used or not
        (candidate,) = [x for x in back["candidates"] if x["deployment"] == "own"]
        assert float(candidate["replica_usd"]) < 0 < float(candidate["expected_usd"])
        assert "replica_usd" not in next(
            x for x in back["candidates"] if x["deployment"] == "cheap"
        )
