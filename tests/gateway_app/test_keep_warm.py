"""Keep-warm live: what the provider is asked, what is booked, and where a budget ends it."""

from __future__ import annotations

import csv
import io
import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gateway.cli import app
from gateway.ledger.stay_rules import GOES_ON
from gateway.registry import Registry
from gateway.settings import ConfigError, Settings
from providers.contract import Delta, Finished, Started
from providers.testing import Wait
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

RATE = Decimal("0.001")
WINDOW = 0.02  # the provider's own
ANSWER = (Delta("hi"), Finished(("stop",)))


class Scales(ScriptedDeployment):
    """Its provider keeps as many as it is told."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.asked: list[int] = []

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        self.asked.append(minimum)


class Pings(ScriptedDeployment):
    """It can be asked to boot."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.pings = 0

    async def warm(self) -> None:
        self.pings += 1


class Warmed(Scripts):
    """Scripts whose deployments are of one of these kinds."""

    def __init__(self, kind: type[Scales | Pings]) -> None:
        super().__init__()
        self._kind = kind
        self.deployment: Any = None
        self.bound: dict[str, Any] = {}

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        self.deployment = bound = self.bound[model] = self._kind(self, model, options)
        self.only(model, ANSWER)
        return bound


def tree(**keep_warm: Any) -> dict[str, Any]:
    price = {"usd_per_second": str(RATE), "bills": ["execute", "boot", "idle"]}
    policy = {"policy": "fixed", "window_seconds": 0.3, "boot_seconds": 2, **keep_warm}
    own = {
        "provider": "scripted",
        "model": "own",
        "price": price,
        "idle_window_seconds": WINDOW,
        "keep_warm": policy,
    }
    return {"deployments": {"own": own}, "models": {"own": {"deployments": ["own"]}}}


def kept(gateway: Gateway) -> list[Any]:
    """The stays that are booked; of one that a full hour has cut, its slices together."""
    charges = [line["charge"] for line in gateway.journal() if line["kind"] == "charge"]
    stays: list[Any] = []
    for charge in (one for one in charges if one["kind"] == "keep_warm"):
        if stays and stays[-1]["rule"] == GOES_ON:
            before = stays.pop()
            charge["cost_pico_usd"] += before["cost_pico_usd"]
            charge["quantity"] = str(Decimal(charge["quantity"]) + Decimal(before["quantity"]))
            charge["period_start_at_us"] = before["period_start_at_us"]
        stays.append(charge)
    return [one for one in stays if one["rule"] != GOES_ON]


def statement(tree: dict[str, Any], data_dir: Path) -> Any:
    config = data_dir / "gateway.yml"
    config.write_text(yaml.safe_dump(tree))
    month = f"{datetime.now(UTC):%Y-%m}"
    run = CliRunner().invoke(
        app,
        ["keep-warm", "-c", str(config), "--data-dir", str(data_dir), "--month", month, "--json"],
    )
    assert run.exit_code == 0, run.output
    return json.loads(run.stdout)


def on_page(gateway: Gateway) -> list[dict[str, str]]:
    """The dashboard's statement of this month."""
    answer = gateway.http.get("/dashboard/keep-warm.csv")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_it_is_held_let_go_and_booked(tmp_path: Path) -> None:
    scripts, patient = Warmed(Scales), tree(window_seconds=1)
    with running_gateway(patient, tmp_path, scripts) as gateway:
        asked = scripts.deployment.asked
        eventually(lambda: asked == [0])  # a gateway that died may have held it
        gateway.answer("own")
        eventually(lambda: len(kept(gateway)) == 1)
        assert asked == [0, 1, 0]
        (charge,) = kept(gateway)
        assert charge["rule"] == "kept, and nobody came"
        seconds = Decimal(charge["quantity"])
        assert Decimal("0.9") < seconds < Decimal("5")  # a little is the provider's own
        assert charge["cost_pico_usd"] == int(seconds * RATE * 10**12)
        gateway.answer("own")
        eventually(lambda: asked[3:4] == [1])
        time.sleep(0.05)  # the provider's own window is over
        gateway.answer("own")
        eventually(lambda: len(kept(gateway)) == 2)
        assert kept(gateway)[1]["rule"] == "kept until a request came"
        costs = gateway.get("/v1/costs", group_by="deployment")["data"][0]
        assert costs["charges"] >= 2
        eventually(lambda: len(kept(gateway)) == 3)  # nobody comes any more
        eventually(lambda: on_page(gateway)[0]["stays_wasted"] == "2")
        (told,), page = on_page(gateway), gateway.http.get("/dashboard/keep-warm").text
        assert "avoided 1 cold start, and 2 stays ended unused" in page
        assert page.count('class="wasted"') == 3 and "fixed" in page  # twice drawn, once named
    assert asked[-1] == 0  # nothing is left held by a gateway that has stopped
    (row,) = statement({**patient, "server": {"data_dir": str(tmp_path)}}, tmp_path)
    assert (row["cold_starts_avoided"], row["stays_wasted"]) == (1, 2)
    assert told["waiting_saved_seconds"] == row["waiting_saved_seconds"]
    assert told["saved_usd"] == row["saved_usd"] and told["monthly_budget_usd"] == ""
    assert Decimal(row["waiting_saved_seconds"]) == 2
    assert Decimal(row["saved_usd"]) == Decimal("0.002")
    assert Decimal(row["net_usd"]) == Decimal(row["saved_usd"]) - Decimal(row["cost_usd"])
    # and the ledger's own requests can be replayed
    asked = ["simulate", "--data-dir", str(tmp_path), "--train-share", "0", "--json"]
    replayed = json.loads(CliRunner().invoke(app, asked).stdout)
    assert [policy["requests"] for policy in replayed["policies"]] == [3, 3, 3]


def test_a_restart_does_not_book_what_was_kept_as_idle_too(tmp_path: Path) -> None:
    scripts = Warmed(Scales)
    warm = (Started(evidence="scale_state"), *ANSWER)
    with running_gateway(tree(), tmp_path, scripts) as gateway:
        scripts.only("own", warm)
        gateway.answer("own")
        eventually(lambda: len(kept(gateway)) == 1)
        (stay,) = kept(gateway)
    with running_gateway(tree(), tmp_path, scripts) as gateway:
        scripts.only("own", warm)
        gateway.answer("own")

        def rest() -> list[Any]:
            charges = [line["charge"] for line in gateway.journal() if line["kind"] == "charge"]
            return [charge for charge in charges if charge["charge_id"].endswith("_1")]

        eventually(lambda: len(rest()) == 1)  # it outlived its time, until the next attempt
        (idle,) = rest()
    kept_us = stay["period_end_at_us"] - stay["period_start_at_us"]
    lag_us = idle["period_start_at_us"] - stay["period_end_at_us"]
    assert idle["kind"] == "idle" and abs(lag_us) < kept_us / 2  # the rest begins where it ends


def test_what_ends_while_the_gateway_stops_is_kept_and_booked_until_it_has(tmp_path: Path) -> None:
    """One request goes on for longer: the other's deployment idles meanwhile, and is held."""
    scripts = Warmed(Scales)
    both = tree(window_seconds=600)
    both["deployments"]["slow"] = {"provider": "scripted", "model": "slow"}
    both["models"]["slow"] = {"deployments": ["slow"]}
    with running_gateway(both, tmp_path, scripts) as gateway, ExitStack() as streams:
        scripts.only("own", (ANSWER[0], Wait(0.2), ANSWER[1]))
        scripts.only("slow", (ANSWER[0], Wait(60), ANSWER[1]))
        for model in ("slow", "own"):
            response = streams.enter_context(gateway.streaming(model, on_disconnect="drain"))
            wait_for_event(events_of(response), "delta")
    lines = gateway.journal()
    ended = {x["attempt"]["model"]: x["attempt"] for x in lines if x["kind"] == "end"}
    assert ended["own"]["status"] == "succeeded"
    (stay,) = kept(gateway)
    own_ended_us, slow_ended_us = (ended[x]["completed_at_us"] for x in ("own", "slow"))
    assert stay["period_start_at_us"] - own_ended_us >= WINDOW * 1e6
    assert stay["period_end_at_us"] >= slow_ended_us
    assert scripts.bound["own"].asked == [0, 1, 0]


def test_who_expects_something_of_it_knows_that_it_is_held(tmp_path: Path) -> None:
    scripts = Warmed(Scales)
    with running_gateway(tree(window_seconds=600), tmp_path, scripts) as gateway:
        scripts.only("own", (Started(evidence="scale_state"), *ANSWER))

        def evidence() -> Any:
            return gateway.get("/v1/warmth")["data"][0]["p_warm_evidence"]

        gateway.answer("own")
        eventually(lambda: evidence() == "kept")
        time.sleep(2 * WINDOW)  # by itself it would be gone
        (warmth,) = gateway.get("/v1/warmth")["data"]
        (listed,) = gateway.get("/v1/deployments")["data"]
        (considered,) = gateway.answer("own", dry_run=True)["candidates"]
        for found in (warmth, listed, considered):
            assert (found["state"], found["p_warm"]) == ("warm", 0.99)
            assert found["p_warm_evidence"] == "kept"
        page = gateway.http.get("/dashboard/now").text
        assert "kept up: 99" in page
        gateway.answer("own")  # of one that is held, this says nothing of the provider's own window
        (warmth,) = gateway.get("/v1/warmth")["data"]
        assert warmth["keep_alive"]["observed"] == 0 and warmth["evidence"]["warm"] == 2
    with running_gateway(tree(window_seconds=600), tmp_path, scripts) as gateway:
        eventually(lambda: gateway.get("/v1/warmth")["data"][0]["evidence"]["warm"] == 2)
        (warmth,) = gateway.get("/v1/warmth")["data"]
        assert warmth["keep_alive"]["observed"] == 0  # nor after a restart
        assert (warmth["state"], warmth["p_warm_evidence"]) == ("off", None)


def test_a_month_whose_budget_is_used_up_holds_nothing(tmp_path: Path) -> None:
    scripts = Warmed(Scales)
    tight = tree(window_seconds=30, monthly_budget_usd="0.0001")  # a tenth of a second
    with running_gateway(tight, tmp_path, scripts) as gateway:
        asked = scripts.deployment.asked
        gateway.answer("own")
        eventually(lambda: len(kept(gateway)) == 1)
        (charge,) = kept(gateway)
        assert Decimal("0.1") <= Decimal(charge["quantity"]) < Decimal("5")
        gateway.answer("own")
        gateway.answer("own")
        assert asked == [0, 1, 0]
    with running_gateway(tight, tmp_path, scripts) as gateway:  # and a new start does not forget
        eventually(lambda: scripts.deployment.asked == [0])
        gateway.answer("own")
        gateway.answer("own")
        assert scripts.deployment.asked == [0]


def test_where_there_is_no_scale_it_is_asked_to_boot_again_and_again(tmp_path: Path) -> None:
    scripts = Warmed(Pings)
    with running_gateway(tree(), tmp_path, scripts) as gateway:
        gateway.answer("own")
        eventually(lambda: len(kept(gateway)) == 1)
        assert 1 < scripts.deployment.pings <= 20  # every 0.016 s of 0.3 s, or less often if busy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "learned"}, "table"),
        ({"table": "x.json"}, "table"),
        ({"policy": "magic"}, "keep_warm.policy"),
        ({"schedules": [{"begin": "08:00", "end": "18:00", "time_zone": "Mars/One"}]}, "time zone"),
        ({"monthly_budget_usd": "-1"}, "monthly_budget_usd"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.model_validate(tree(**changes))


def test_a_provider_that_can_neither_scale_nor_boot_is_refused() -> None:
    settings = Settings.model_validate(tree())
    registry = Registry(settings, open_http, {"scripted": Scripts().plugin()})
    with pytest.raises(ConfigError, match=r"deployments\.own\.keep_warm"):
        registry.build()
