"""What is learned of warmth, by HTTP and by the command line, also after a restart."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from providers.contract import Booting, Delta, Finished, Started
from providers.testing import Wait
from tests.gateway_app.gateways import Gateway, Scripts, eventually, running_gateway

WARM = (Started("i-1", evidence="scale_state"), Delta("hi"), Finished(("stop",)))
COLD = (Booting("process_started", True), Wait(0.02), Started("i-1"), *WARM[1:])
OPEN = (Delta("hi"), Finished(("stop",)))


def tree(**deployment: Any) -> dict[str, Any]:
    own = {"provider": "scripted", "model": "own", **deployment}
    other = {"provider": "scripted", "model": "other"}
    return {
        "deployments": {"own": own, "other": other},
        "models": {"own": {"deployments": ["own"]}, "other": {"deployments": ["other"]}},
    }


def warmth(gateway: Gateway, name: str = "own") -> Any:
    (row,) = gateway.get("/v1/warmth", deployment=name)["data"]
    return row


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_deployment_that_was_never_asked(tmp_path: Path) -> None:
    with running_gateway(tree(idle_window_seconds=300), tmp_path) as gateway:
        rows = gateway.get("/v1/warmth")["data"]
        assert [row["deployment"] for row in rows] == ["own", "other"]
        own, other = rows
        assert (own["state"], own["stands"], own["p_warm"]) == ("off", "likely off", 0.01)
        assert (other["state"], other["stands"]) == ("unknown", "unknown")
        assert other["p_warm"] is other["expected_boot_seconds"] is None
        assert own["running"] == 0
        assert own["keep_alive"]["prior"] == {"p50_seconds": 300.0, "source": "configured"}
        assert own["keep_alive"]["p50_seconds"] == pytest.approx(300, rel=0.05)
        assert own["keep_alive"]["observed"] == own["calibration"]["predictions"] == 0
        assert own["calibration"]["brier_score"] is own["calibration"]["error"] is None
        assert own["boot_seconds"] == {
            "p50": None,
            "p90": None,
            "p99": None,
            "observed": 0,
            "parts": [],
        }
        assert own["last_used_at"] is own["warm_until_at"] is own["booting_left_seconds"] is None
        assert other["keep_alive"]["prior"]["source"] == "guess"
        assert not gateway.scripts.history  # nothing is woken
        assert gateway.get("/v1/warmth", deployment="none")["data"] == []


def test_it_boots_is_warm_and_the_gateway_remembers(tmp_path: Path) -> None:
    with running_gateway(tree(idle_window_seconds=300), tmp_path) as gateway:
        gateway.scripts.only("own", (Booting("process_started", True), Wait(0.5), *COLD[2:]), WARM)
        call = threading.Thread(target=gateway.answer, args=("own",))
        call.start()
        eventually(lambda: warmth(gateway)["state"] == "booting")
        booting = warmth(gateway)
        assert booting["running"] == 1 and booting["p_warm"] < 0.05
        assert 15 < booting["booting_left_seconds"] <= 20  # nothing is known but a guess
        call.join()
        warm = warmth(gateway)
        assert (warm["state"], warm["running"]) == ("warm", 0) and warm["p_warm"] > 0.9
        assert warm["last_used_at"] < warm["warm_until_at"]
        boots = warm["boot_seconds"]
        assert boots["observed"] == 1 and boots["p50"] == pytest.approx(0.5, abs=0.2)
        gateway.answer("own")
        seen = warmth(gateway)
        assert seen["evidence"] == {
            "warm": 1,
            "cold": 1,
            "unknown": 0,
            "boots": 1,
            "scale_outs": 0,
            "new_revisions": 0,
        }
        assert seen["calibration"]["predictions"] == seen["keep_alive"]["observed"] == 1
        assert 0 <= seen["calibration"]["brier_score"] < 0.05
        gateway.get("/v1/operations")  # all of it is in the database
    with running_gateway(tree(idle_window_seconds=300), tmp_path) as gateway:
        eventually(lambda: warmth(gateway)["evidence"]["cold"] == 1, 5)
        again = warmth(gateway)
        assert again["stands"] == "warm" and again["last_seen"]["by"] == "attempt"
        apart = instant(again["last_used_at"]) - instant(seen["last_used_at"])
        assert abs(apart.total_seconds()) < 0.001
        assert again["keep_alive"]["observed"] == again["boot_seconds"]["observed"] == 1
        gateway.scripts.only("own", WARM)
        gateway.answer("own")
        assert warmth(gateway)["evidence"]["warm"] == 2
        assert warmth(gateway)["calibration"]["predictions"] == 2


def test_unknown_verdicts_teach_nothing(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", OPEN)
    before = warmth(gateway, "plain")
    gateway.answer("plain")
    after = warmth(gateway, "plain")
    assert after["evidence"]["unknown"] == before["evidence"]["unknown"] + 1
    assert after["keep_alive"] == before["keep_alive"]


def test_a_boot_that_was_not_waited_out_has_no_length(tmp_path: Path) -> None:
    with running_gateway(tree(timeouts={"boot_seconds": 0.05}), tmp_path) as gateway:
        gateway.scripts.only("own", (Booting("phase_reported", True), Wait(5), *OPEN))
        assert gateway.error("own")[0] == 503
        seen = warmth(gateway)
        assert seen["evidence"]["cold"] == 1 and seen["boot_seconds"]["observed"] == 0
        assert seen["state"] == "booting"  # it goes on, as far as anybody knows


def test_only_who_may_read_reports_sees_it(locked: Gateway) -> None:
    for name, key, status in (("app", "sig_app-key-1", 403), ("finance", "sig_finance-key-3", 200)):
        answer = locked.http.get("/v1/warmth", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == status, name


# -- reports ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A data folder with cold and warm attempts in it, and its configuration."""
    data_dir = tmp_path_factory.mktemp("lived")
    with running_gateway(tree(), data_dir) as gateway:
        gateway.scripts.only("own", COLD, WARM, WARM, COLD, WARM)
        for _ in range(5):
            gateway.answer("own")
        by_gap = gateway.get("/v1/cold-starts", by="idle_gap")["data"]
        explained = gateway.get("/v1/cold-starts", against="1h")["explanation"]
        refused = gateway.http.get("/v1/costs", params={"by": "hour"})
        wrong = gateway.http.get("/v1/cold-starts", params={"against": "soon"})
        found = gateway.get("/v1/warmth", deployment="own")["data"]
    config = data_dir / "gateway.yml"
    config.write_text(
        "providers: {own: {kind: openai_chat, base_url: 'http://127.0.0.1:9', api_key: k}}\n"
        "deployments: {own: {provider: own, model: own}}\nmodels: {own: {deployments: [own]}}\n"
    )
    return data_dir, config, by_gap, explained, refused, wrong, found


def test_cold_starts_by_gap_and_explained(lived: Any) -> None:
    _, _, by_gap, explained, refused, wrong, _ = lived
    assert [row["group"]["idle_gap"] for row in by_gap] == [None, 0]
    assert [(row["cold"], row["warm"]) for row in by_gap] == [(1, 0), (1, 3)]
    assert by_gap[1]["cold_rate_interval"]["low"] < 0.25 < by_gap[1]["cold_rate_interval"]["high"]
    assert explained["before"]["attempts"] == 0 and explained["after"]["attempts"] == 5
    assert explained["change"] is None
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "by")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "against")


def command(*arguments: str) -> str:
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_the_command_line_draws_and_explains(lived: Any) -> None:
    data_dir, config, *_, found = lived
    where = ("--config", str(config), "--data-dir", str(data_dir))
    out = command("cold-starts", *where, "--plot", "--by", "idle_gap")
    assert "idle_gap" in out and "│" in out and "█" in out
    assert "rate_low" in command("cold-starts", *where, "--csv")
    told = json.loads(command("cold-starts", *where, "--explain", "--against", "7d", "--json"))
    assert told["after"]["attempts"] == 5 and told["change"] is None
    assert "nothing to compare" in command("cold-starts", *where, "--explain", "--against", "7d")
    (row,) = json.loads(command("warmth", *where, "--json"))
    assert row["evidence"] == found[0]["evidence"]
    assert row["last_used_at"][:19] == found[0]["last_used_at"][:19]
    assert row["source"] == "ledger" and row["last_seen"]["at"] == row["last_used_at"]
    out = command("warmth", *where, "--plot")
    assert f"From the ledger alone: no gateway runs on {data_dir}." in out
    assert "of 4 predictions, Brier score " in out and "by chance alone up to" in out
    assert "P(warm) by seconds without work" in out and "█" in out


def test_the_command_line_explains_a_change(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path) as gateway:
        gateway.scripts.only("own", COLD, WARM, WARM, WARM, *[COLD] * 4)
        for _ in range(4):
            gateway.answer("own")
        time.sleep(0.05)
        middle = gateway.http.get("/v1/operations", params={"limit": 1})
        assert middle.status_code == 200
        turn_us = time.time_ns() // 1000
        for _ in range(4):
            gateway.answer("own")
        turn = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(turn_us // 1_000_000))
        turn = f"{turn}.{turn_us % 1_000_000:06d}Z"
        told = gateway.get("/v1/cold-starts", against="1h", start_time=turn)["explanation"]
        assert (told["before"]["cold_rate"], told["after"]["cold_rate"]) == (0.25, 1.0)
        assert sum(told["causes"].values()) == pytest.approx(told["change"]) == 0.75
        assert told["causes"]["keep_alive"] > 0.5
    config = tmp_path / "gateway.yml"
    config.write_text("")
    where = ("--config", str(config), "--data-dir", str(tmp_path), "--start-time", turn)
    out = command("cold-starts", *where, "--explain", "--against", "1h")
    assert "keep_alive" in out and "+0.7500" in out


@pytest.mark.parametrize(
    "wrong",
    [
        ("--explain",),
        ("--against", "7d"),
        ("--explain", "--against", "7d", "--plot"),
        ("--explain", "--against", "soon"),
        ("--by", "minute"),
        ("--json", "--csv"),
    ],
)
def test_what_the_command_line_refuses(lived: Any, wrong: tuple[str, ...]) -> None:
    data_dir, config, *_ = lived
    ran = CliRunner().invoke(
        app, ["cold-starts", "--config", str(config), "--data-dir", str(data_dir), *wrong]
    )
    assert ran.exit_code != 0
