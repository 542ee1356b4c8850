"""Idle and standing machines: charges beside the attempts, each second once."""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.accounting.hours import HOUR_US
from gateway.clock import Clock
from gateway.execution.charging import Charging
from gateway.ledger.care.inspect import info
from gateway.ledger.layout import journal_dir
from gateway.ledger.schema import charges as charge_rows
from gateway.ledger.writing.journal import Journal
from gateway.registry import Registry
from gateway.settings import Settings
from providers.contract import Booting, Delta, Finished, RateLimited, Started
from providers.testing import ScriptedProvider, Until, Wait
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions
from providers.toolkit.http import open_http
from tests.gateway_app.gateways import (
    Gateway,
    Scripts,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)
from tests.ledger.databases import table
from tests.ledger.samples import begun, finished, read_journal

RATE = Decimal("0.0001")
WARM = (Started(evidence="scale_state"), Delta("hi"), Finished(("stop",)))
COLD = (Booting("process_started", True), Started(), Delta("hi"), Finished(("stop",)))


def tree(**deployment: Any) -> dict[str, Any]:
    price = {"usd_per_second": str(RATE), "bills": ["execute", "boot", "idle"]}
    own = {"provider": "scripted", "model": "own", "price": price, **deployment}
    return {"deployments": {"own": own}, "models": {"own": {"deployments": ["own"]}}}


def charges(gateway: Gateway) -> list[Any]:
    return [line["charge"] for line in gateway.journal() if line["kind"] == "charge"]


def test_the_gap_before_a_warm_start_is_measured(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path) as gateway:
        gateway.scripts.only("own", COLD, (RateLimited(retry_after_seconds=60),), WARM)
        first = gateway.answer("own", tags={"team": "a"})
        assert first["cost"]["pending"] == ["idle"]
        gateway.error("own")  # a refusal, which leaves the machine idle
        second = gateway.answer("own", tags={"team": "b"})
        (charge,) = charges(gateway)
        assert (charge["kind"], charge["status"]) == ("idle", "measured")
        assert charge["attempt_id"] == first["attempts"][0]["id"]
        (before,), (after,) = gateway.rows(first["id"]), gateway.rows(second["id"])
        gap_us = after["begun_at_us"] - before["completed_at_us"]
        assert abs(Decimal(charge["quantity"]) - Decimal(gap_us) / 1_000_000) < Decimal("0.001")
        assert charge["cost_pico_usd"] == int(Decimal(charge["quantity"]) * RATE * 10**12)
        # it is the first one's: in its group, and in the deployment's total
        (team_a,) = gateway.get("/v1/costs", group_by="tag:team", **{"tag:team": "a"})["data"]
        lines = {line["kind"]: line["usd"] for line in team_a["lines"]}
        assert Decimal(lines["idle"]).scaleb(12) == charge["cost_pico_usd"]
        (total,) = gateway.get("/v1/costs", group_by="deployment")["data"]
        paid = [row["cost_pico_usd"] for row in (before, after)] + [charge["cost_pico_usd"]]
        assert Decimal(total["known_usd"]).scaleb(12) == sum(paid)
        assert (total["attempts"], total["charges"]) == (3, 1)


def test_a_machine_whose_time_is_over(tmp_path: Path) -> None:
    with running_gateway(tree(idle_window_seconds=0.05), tmp_path) as gateway:
        gateway.scripts.only("own", COLD)
        gateway.answer("own")
        eventually(lambda: bool(charges(gateway)), 5)
        (charge,) = charges(gateway)
        assert (charge["quantity"], charge["status"]) == ("0.05", "estimated")
        assert (charge["low_pico_usd"], charge["high_pico_usd"]) == (0, 5_000_000)
        assert charge["period_end_at_us"] - charge["period_start_at_us"] == 50_000


def test_what_nobody_knows_is_unknown_and_bounded(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path) as gateway:
        gateway.scripts.only("own", COLD)
        gateway.answer("own")
        gateway.answer("own")
        (charge,) = charges(gateway)
        assert (charge["status"], charge["cost_pico_usd"]) == ("unknown", None)
        assert charge["high_pico_usd"] > 0
        (total,) = gateway.get("/v1/costs")["data"]
        assert total["unknown_charges"] == 1
        assert Decimal(total["range_usd"]["high"]) > Decimal(total["known_usd"])


def test_a_restart_takes_up_the_gap(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path) as gateway:
        gateway.scripts.only("own", COLD)
        first = gateway.answer("own")
        gateway.operation(first["id"])  # it is in the database
    with running_gateway(tree(), tmp_path) as gateway:
        gateway.scripts.only("own", WARM)
        second = gateway.answer("own")
        (charge,) = charges(gateway)
        assert charge["attempt_id"] == first["attempts"][0]["id"]
        row = gateway.rows(second["id"])[0]
        assert abs(charge["period_end_at_us"] - row["begun_at_us"]) < 50_000


def side_by_side(gateway: Gateway, script: tuple[Any, ...]) -> set[str]:
    """Two calls at a time, so two machines; the ids of their attempts."""
    go_on = asyncio.Event()
    held = (*script[:-1], Until(go_on), script[-1])
    gateway.scripts.only("own", held, script)
    with gateway.streaming("own") as response:
        events = events_of(response)
        wait_for_event(events, "delta")
        gateway.answer("own")
        assert gateway.loop is not None
        gateway.loop.call_soon_threadsafe(go_on.set)
        wait_for_event(events, "finished")
    rows = [line["attempt"] for line in gateway.journal() if line["kind"] == "end"][-2:]
    gateway.operation(rows[-1]["operation_id"])  # they are in the database
    return {row["attempt_id"] for row in rows}


def test_a_restart_takes_up_every_machine_that_was_idle(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path) as gateway:
        before = side_by_side(gateway, COLD)
    with running_gateway(tree(), tmp_path) as gateway:
        side_by_side(gateway, WARM)
        booked = charges(gateway)
        assert {charge["attempt_id"] for charge in booked} == before
        assert {charge["status"] for charge in booked} == {"measured"}


def test_a_machine_that_outlived_its_time_across_a_restart(tmp_path: Path) -> None:
    with running_gateway(tree(idle_window_seconds=0.05), tmp_path) as gateway:
        gateway.scripts.only("own", COLD)
        first = gateway.answer("own")
        eventually(lambda: bool(charges(gateway)), 10)
        (over,) = charges(gateway)
        gateway.operation(first["id"])
    with running_gateway(tree(idle_window_seconds=0.05), tmp_path) as gateway:
        gateway.scripts.only("own", WARM)
        second = gateway.answer("own")
        rest = charges(gateway)[-1]
        assert rest["attempt_id"] == over["attempt_id"] == first["attempts"][0]["id"]
        assert rest["charge_id"].endswith("_1") and rest["status"] == "measured"
        begun_at_us = gateway.rows(second["id"])[0]["begun_at_us"]
        assert abs(rest["period_start_at_us"] - over["period_end_at_us"]) < 50_000
        assert abs(rest["period_end_at_us"] - begun_at_us) < 50_000


class Ends(ScriptedDeployment):
    """One whose machine ends with its gateway: a second before the start of the next one."""

    def ended_by(self, now: datetime) -> datetime | None:
        return now - timedelta(seconds=1)


class EndsScripts(Scripts):
    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        return Ends(self, model, options)


def test_a_machine_that_ended_with_its_gateway(tmp_path: Path) -> None:
    configured = tree(idle_window_seconds=1000)
    with running_gateway(configured, tmp_path, EndsScripts()) as gateway:
        gateway.scripts.only("own", COLD)
        first = gateway.answer("own")
        gateway.operation(first["id"])
    with running_gateway(configured, tmp_path, EndsScripts()) as gateway:
        gateway.scripts.only("own", COLD)
        (charge,) = charges(gateway)
        assert charge["attempt_id"] == first["attempts"][0]["id"]
        assert (charge["status"], charge["low_pico_usd"]) == ("estimated", 0)
        assert charge["high_pico_usd"] < 900 * RATE * 10**12  # and not its whole window
        gateway.answer("own")
        assert len(charges(gateway)) == 1


def killed(data_dir: Path) -> Path:
    """What a kill -9 at this moment would leave."""
    # A copy of what is being written would be one that no death leaves.
    eventually(lambda: info(data_dir)["lag_bytes"] == 0)
    left = data_dir / "as of death"
    # What is written anew beside its old self may be gone before it is copied.
    passing = shutil.ignore_patterns(left.name, "metrics.prom*", "keys.sqlite3-*")
    shutil.copytree(data_dir, left, ignore=passing)
    return left


@pytest.mark.parametrize("keep_alive_seconds", [None, 1000.0])
def test_a_death_does_not_lose_the_gap_before_what_it_cut_off(
    tmp_path: Path, keep_alive_seconds: float | None
) -> None:
    known = {} if keep_alive_seconds is None else {"keep_alive_seconds": keep_alive_seconds}
    with running_gateway(tree(**known), tmp_path) as gateway:
        gateway.scripts.only("own", COLD, (*WARM[:2], Wait(30)))
        first = gateway.answer("own")
        gateway.operation(first["id"])
        with gateway.streaming("own", on_disconnect="drain") as response:
            wait_for_event(events_of(response), "delta")
            as_of_death = killed(tmp_path)
            running = gateway.journal()[-1]["attempt"]
            gateway.http.post(f"/v1/operations/{running['operation_id']}/cancel")
    with running_gateway(tree(**known), as_of_death) as gateway:
        (charge,) = charges(gateway)
        assert charge["attempt_id"] == first["attempts"][0]["id"]
        assert abs(charge["period_end_at_us"] - running["begun_at_us"]) < 5_000
        seconds = (charge["period_end_at_us"] - charge["period_start_at_us"]) / 1e6
        assert abs(charge["high_pico_usd"] / 1e12 - seconds * float(RATE)) < 1e-9
        assert charge["status"] == ("unknown" if keep_alive_seconds is None else "estimated")
        assert (charge["cost_pico_usd"] is None) == (keep_alive_seconds is None)
        assert charge["low_pico_usd"] == 0
    with running_gateway(tree(**known), as_of_death) as gateway:
        assert len(gateway.get("/v1/charges")["data"]) == 1


def test_a_gap_that_was_booked_before_a_death_is_not_written_down_again(tmp_path: Path) -> None:
    configured = tree(idle_window_seconds=0.05)
    with running_gateway(configured, tmp_path) as gateway:
        gateway.scripts.only("own", COLD)
        gateway.answer("own")
        eventually(lambda: bool(charges(gateway)))
        as_of_death = killed(tmp_path)
    with running_gateway(configured, as_of_death) as gateway:
        assert len(gateway.get("/v1/charges")["data"]) == 1


def test_what_was_idle_when_a_gateway_died_is_booked_however_late_the_next_one_comes(
    tmp_path: Path,
) -> None:
    configured = tree(idle_window_seconds=1000)
    with running_gateway(configured, tmp_path) as gateway:
        gateway.scripts.only("own", COLD)
        first = gateway.answer("own")
        gateway.operation(first["id"])
        assert charges(gateway) == []
    days_us = 3 * 86_400_000_000
    late = Clock(wall_us=lambda: time.time_ns() // 1000 + days_us)
    with running_gateway(configured, tmp_path, clock=late) as gateway:
        eventually(lambda: len(charges(gateway)) == 1)
        (charge,) = charges(gateway)
    assert charge["attempt_id"] == first["attempts"][0]["id"]
    assert (charge["quantity"], charge["status"]) == ("1000", "estimated")


def test_a_machine_whose_boot_was_called_off_idles_when_that_is_over(tmp_path: Path) -> None:
    now_us = [490_000 * HOUR_US]
    clock = Clock(lambda: now_us[0] / 1e6, lambda: now_us[0])
    settings = Settings.model_validate(tree(idle_window_seconds=300))
    registry = Registry(settings, open_http, {"scripted": ScriptedProvider().plugin()})
    registry.build()
    target, begun_at = registry.targets["own"], clock.monotonic()
    journal = Journal.open(journal_dir(tmp_path))
    charging = Charging(journal, clock, [target])
    assert target.machines is not None
    lost = finished(begun(1, at_us=now_us[0]), completed_at_us=now_us[0] + 2_000_000)
    target.machines.begin(lost.attempt_id)
    now_us[0] += 2_000_000
    charging.settle(target, lost, begun_at=begun_at, worked=False, boots_on_seconds=28)
    for seconds in (301, 327):  # after the call, and after the boot
        charging.tick()
        now_us[0] = lost.begun_at_us + seconds * 1_000_000
    charging.tick()
    assert read_journal(tmp_path) == []
    now_us[0] += 10_000_000
    charging.tick()
    journal.close()
    (charge,) = [line["charge"] for line in read_journal(tmp_path)]
    assert charge["period_start_at_us"] == lost.begun_at_us + 30_000_000
    assert (charge["quantity"], charge["low_pico_usd"]) == ("300", 0)


def test_standing_machines_are_booked_by_the_hour(tmp_path: Path) -> None:
    now_us = [490_000 * HOUR_US + HOUR_US // 2]
    clock = Clock(lambda: now_us[0] / 1e6, lambda: now_us[0])
    price = {"usd_per_second": "0.001", "bills": ["standing"]}
    settings = Settings.model_validate(tree(price=price, standing_machines=2))
    registry = Registry(settings, open_http, {"scripted": ScriptedProvider().plugin()})
    registry.build()
    journal = Journal.open(journal_dir(tmp_path))
    charging = Charging(journal, clock, registry.targets.values())
    charging.stand(registry.targets["own"], now_us[0])
    charging.tick()
    now_us[0] += 5 * HOUR_US // 2
    charging.tick()
    charging.tick()
    again = Charging(journal, clock, registry.targets.values())
    again.stand(registry.targets["own"], now_us[0])  # nothing twice after a restart
    again.tick()
    journal.close()
    booked = [line["charge"] for line in read_journal(tmp_path) if line["kind"] == "charge"]
    assert [charge["quantity"] for charge in booked] == ["1800", "3600", "3600"]
    assert {charge["unit_price_usd"] for charge in booked} == {"0.002"}
    assert {charge["attempt_id"] for charge in booked} == {None}
    assert sum(charge["cost_pico_usd"] for charge in booked) == 18 * 10**12
    assert len({charge["charge_id"] for charge in booked}) == 3


def test_standing_goes_on_where_it_was_left(tmp_path: Path) -> None:
    """Through a death and a stop, both within the first hour; nothing else was ever booked."""
    price = {"usd_per_second": "0.001", "bills": ["standing"]}
    with running_gateway(tree(price=price), tmp_path) as gateway:
        gateway.scripts.only("own", WARM)
        answer = gateway.answer("own")
        assert (answer["cost"]["total_usd"], answer["cost"]["status"]) == ("0", "measured")
        begun_at_us = gateway.rows(answer["id"])[0]["begun_at_us"]
        assert {row["period_end_at_us"] % HOUR_US for row in charges(gateway)} <= {0}
        as_of_death = killed(tmp_path)
    for _ in range(2):
        with running_gateway(tree(price=price), as_of_death):
            pass
    booked = sorted(table(as_of_death, charge_rows), key=lambda row: row["period_start_at_us"])
    ends = [row["period_end_at_us"] for row in booked]
    assert booked[0]["period_start_at_us"] < begun_at_us < ends[-2] < ends[-1]
    assert [row["period_start_at_us"] for row in booked[1:]] == ends[:-1]
    assert len({row["charge_id"] for row in booked}) == len(booked) >= 2


def test_a_fault_in_one_duty_of_the_housekeeping_ends_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[object] = []

    def fault(charging: Charging) -> None:
        faults.append(charging)
        raise ArithmeticError("no charge can be computed")

    monkeypatch.setattr(Charging, "tick", fault)  # no figure that a configuration takes does it
    with running_gateway(tree(), tmp_path) as gateway:
        eventually(lambda: len(faults) > 1)
        assert gateway.http.get("/healthz").status_code == 200
