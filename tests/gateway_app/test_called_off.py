"""Of two engines that boot for one request, the one that is not up first is ended and paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from providers.contract import Delta, Finished, ProbeState, Started
from providers.testing import ScriptedProvider
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions
from tests.gateway_app.gateways import Gateway, Scripts, eventually, running_gateway
from tests.local.engines import slow_command

SECONDS = {"usd_per_second": "0.01", "bills": ["execute", "boot"]}


def engines(folder: Path, price: Any = SECONDS) -> dict[str, Any]:
    """Two programs, each of which loads until its file is there: ``late-ready``, ``soon-ready``."""

    def engine(name: str) -> dict[str, Any]:
        files = ("--ready-file", folder / f"{name}-ready", "--starts-file", folder / name)
        command = list(slow_command(*files))
        return {"provider": "local", "model": "slow", "command": command, "price": price}

    return {
        "deployments": {"late": engine("late"), "soon": engine("soon")},
        "models": {"both": {"deployments": ["late", "soon"], "hedge": "when_cold"}},
    }


def started(folder: Path, name: str) -> list[int]:
    """The processes that were started for one of them."""
    file = folder / name
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def states(gateway: Gateway) -> dict[str, str]:
    candidates = gateway.answer("both", dry_run=True)["candidates"]
    return {each["deployment"]: each["state"] for each in candidates}


def test_real_engines_that_boot(tmp_path: Path) -> None:
    """The one that is not up first ends, and costs what it took until then."""
    with running_gateway(engines(tmp_path), tmp_path) as gateway:
        (tmp_path / "soon-ready").touch()
        answer = gateway.answer("both")
        eventually(lambda: len(gateway.rows(answer["id"])) == 2)
        rows = {row["deployment"]: row for row in gateway.rows(answer["id"])}
        assert (rows["late"]["status"], rows["soon"]["status"]) == ("lost_hedge", "succeeded")
        for row in rows.values():
            assert (row["verdict"], row["caused_boot"]) == ("cold", True)
            assert row["boot_seconds"] > 0 and row["known_pico_usd"] > 0
        late = rows["late"]
        assert late["cost_status"] == "measured" and not late["execute_seconds"]
        assert late["boot_seconds"] <= late["total_seconds"]
        cost = Decimal(str(late["boot_seconds"])) * Decimal("0.01") * 10**12
        assert late["low_pico_usd"] == late["cost_pico_usd"] == late["high_pico_usd"] == int(cost)
        assert not any(map(psutil.pid_exists, started(tmp_path, "late")))
        assert states(gateway) == {"late": "off", "soon": "warm"}
        again = gateway.answer("both")
        assert (again["deployment"], again["cold_start"]["verdict"]) == ("soon", "warm")


def test_a_caller_who_hangs_up_ends_both_engines(tmp_path: Path) -> None:
    with running_gateway(engines(tmp_path), tmp_path) as gateway:
        with gateway.streaming("both"):
            eventually(lambda: all(started(tmp_path, name) for name in ("late", "soon")))
        eventually(lambda: not gateway.running())
        rows = gateway.last_rows("both")
        assert [(row["status"], row["cost_status"]) for row in rows] == [
            ("cancelled", "measured")
        ] * 2
        for name in ("late", "soon"):
            assert not any(map(psutil.pid_exists, started(tmp_path, name)))
            (tmp_path / f"{name}-ready").touch()
        # who comes back boots them anew
        assert gateway.answer("both")["cold_start"]["verdict"] == "cold"


def test_a_boot_that_others_wait_for_is_not_ended(tmp_path: Path) -> None:
    """They wait in the gateway: the engine has never heard of them."""
    with running_gateway(engines(tmp_path), tmp_path) as gateway, ThreadPoolExecutor(2) as callers:
        first = callers.submit(gateway.answer, "both")
        eventually(lambda: all(started(tmp_path, name) for name in ("late", "soon")))
        second = callers.submit(gateway.answer, "deployment:late")
        eventually(lambda: queued(gateway, "late") == 1)
        (tmp_path / "soon-ready").touch()
        answer = first.result()
        eventually(lambda: len(gateway.rows(answer["id"])) == 2)
        late = next(row for row in gateway.rows(answer["id"]) if row["deployment"] == "late")
        # nobody knows yet how long it will take: the second caller pays for none of it
        assert (late["status"], late["cost_status"]) == ("lost_hedge", "estimated")
        assert late["low_pico_usd"] < late["cost_pico_usd"] < late["high_pico_usd"]
        (tmp_path / "late-ready").touch()
        served = second.result()
        assert served["deployment"] == "late"
        (row,) = gateway.rows(served["id"])
        assert (row["verdict"], row["caused_boot"]) == ("cold", False)
        assert len(started(tmp_path, "late")) == 1


def queued(gateway: Gateway, name: str) -> int:
    text = gateway.http.get("/metrics").text
    told = [x for x in text.splitlines() if "queued" in x and f'"{name}"' in x]
    return sum(int(float(x.rpartition(" ")[2])) for x in told)


class UpAtLast(ScriptedDeployment):
    """A process of ours: where it stands is told, and one that is up is not ended."""

    def __init__(self, provider: ScriptedProvider, model: str, options: ScriptedOptions) -> None:
        super().__init__(provider, model, options)
        self._capabilities = replace(self._capabilities, ends_boots=True)
        self._states, self._name = provider.states, model
        self._tell: Callable[[ProbeState], None] = lambda state: None

    def watch(self, tell: Callable[[ProbeState], None]) -> None:
        self._tell = tell
        self._stands("down")

    async def warm(self) -> None:
        self._stands("booting")
        try:
            await asyncio.sleep(0.05 if self._name == "soon" else 3600.0)
        finally:  # it came up in the very moment in which it was called off
            self._stands("ready")

    def _stands(self, state: ProbeState) -> None:
        self._states[self._name] = state
        self._tell(state)


class UpAtLastScripts(Scripts):
    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        self.only(model, (Started(), Delta("hi"), Finished(("stop",))))
        return UpAtLast(self, model, options)


def test_one_that_was_up_before_it_could_be_ended_idles_and_that_is_paid_for(
    tmp_path: Path,
) -> None:
    price = {"usd_per_second": "0.01", "bills": ["execute", "boot", "idle"], "shared": True}
    tree = {
        "deployments": {
            name: {"provider": "scripted", "model": name, "price": price, "idle_window_seconds": 60}
            for name in ("late", "soon")
        },
        "models": {"both": {"deployments": ["late", "soon"], "hedge": "when_cold"}},
    }
    with running_gateway(tree, tmp_path, UpAtLastScripts()) as gateway:
        answer = gateway.answer("both")
        assert answer["deployment"] == "soon"
        eventually(lambda: len(gateway.rows(answer["id"])) == 2)
        lost = next(row for row in gateway.rows(answer["id"]) if row["deployment"] == "late")
        assert (lost["status"], lost["cost_status"]) == ("lost_hedge", "measured")
        assert states(gateway) == {"late": "warm", "soon": "warm"}
        assert gateway.answer("deployment:late")["deployment"] == "late"
        charges = [line["charge"] for line in gateway.journal() if line["kind"] == "charge"]
        idle = next(each for each in charges if each["attempt_id"] == lost["attempt_id"])
        assert idle["kind"] == "idle" and float(idle["quantity"]) > 0
