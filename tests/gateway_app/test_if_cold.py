"""A request that does not wait for a boot, whoever has begun one, and one that goes elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.contract import CapacityUnavailable, UpstreamFailed
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions
from tests.gateway_app.gateways import Gateway, Scripts, eventually, running_gateway
from tests.gateway_app.test_dual_boot import (
    END,
    NEVER,
    TOKENS,
    Boots,
    asleep,
    deployment,
)

FAIL, SPILL = {"if_cold": "fail"}, {"if_cold": "spill"}
DEAR = {"usd_per_million_input_tokens": "9", "usd_per_million_output_tokens": "9"}


def tree(**more: Any) -> dict[str, Any]:
    return {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            "m-a": {**deployment("m-a", TOKENS), **more},
            "m-b": deployment("m-b", DEAR),
        },
        "models": {"m": {"deployments": ["m-a", "m-b"], "strategy": "priority", "hedge": "never"}},
    }


def standing(gateway: Gateway, name: str) -> Any:
    (found,) = (x for x in gateway.get("/v1/deployments")["data"] if x["name"] == name)
    return found


def proof(gateway: Gateway, name: str) -> tuple[Any, ...]:
    """Its word, and what was seen of it last, by what."""
    found = standing(gateway, name)
    seen = found["last_seen"] or {"state": None, "by": None}
    return found["stands"], seen["state"], seen["by"]


def refused(gateway: Gateway) -> None:
    """Nothing is warm: it hears so, nothing is asked, nothing is booked."""
    lines = len(gateway.journal())
    response = gateway.generate("m", routing=FAIL)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_cold")
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert len(gateway.journal()) == lines


def test_nothing_is_woken_for_it(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path, Boots()) as gateway:
        boots = asleep(gateway, "m", NEVER, NEVER)
        refused(gateway)
        told = gateway.answer("m", routing=FAIL, dry_run=True)
        assert told["chosen"] is None and told["order"] == told["boots"] == []
        assert {x["excluded"] for x in told["candidates"]} == {
            "it would have to boot, and if_cold is fail"
        }
        assert not boots.warmed and not boots.history


def test_it_is_sent_where_it_is_warm_and_nowhere_else(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path, Boots()) as gateway:
        boots = asleep(gateway, "m", NEVER, NEVER)
        gateway.answer("deployment:m-b")
        answer = gateway.answer("m", routing=FAIL)
        assert answer["deployment"] == "m-b"
        (cold,) = (x for x in answer["candidates"] if x["deployment"] == "m-a")
        assert cold["excluded"]
        boots.only("m-b", (UpstreamFailed(),))
        status, error = gateway.error("m", routing=FAIL)  # what is cold is no fallback
        assert (status, error["code"]) == (502, "provider_failed")
        assert not boots.calls("m-a") and not boots.warmed


def test_one_that_was_asked_to_boot_is_known_to_boot_and_to_be_up(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path, Boots()) as gateway:
        boots = asleep(gateway, "m", NEVER, NEVER)
        boots.says_at_once = True
        assert gateway.http.post("/v1/deployments/m-a/warm").status_code == 202
        eventually(lambda: standing(gateway, "m-a")["state"] == "booting")
        refused(gateway)
        assert gateway.answer("m", dry_run=True)["candidates"][0]["state"] == "booting"
        boots.is_up("m-a")
        eventually(lambda: not standing(gateway, "m-a")["warming"])
        assert proof(gateway, "m-a") == ("warm", "warm", "probe")
        assert gateway.answer("m", routing=FAIL)["deployment"] == "m-a"
        assert boots.warmed == ["m-a"]


def warmed(gateway: Gateway, name: str) -> tuple[Any, ...]:
    """How it stands once it was asked to boot, and nobody waits for that any more."""
    assert gateway.http.post(f"/v1/deployments/{name}/warm").status_code == 202
    eventually(lambda: not standing(gateway, name)["warming"])
    return proof(gateway, name)


def test_one_whose_boot_fails_is_off(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path, Boots()) as gateway:
        asleep(gateway, "m", CapacityUnavailable(), NEVER)
        assert proof(gateway, "m-a") == ("likely off", None, None)
        assert warmed(gateway, "m-a") == ("off", "off", "probe")
        refused(gateway)


def test_one_whose_boot_outlasts_the_patience_boots_on(tmp_path: Path) -> None:
    with running_gateway(tree(timeouts={"boot_seconds": 0.05}), tmp_path, Boots()) as gateway:
        asleep(gateway, "m", NEVER, NEVER)
        assert warmed(gateway, "m-a") == ("booting", "booting", "probe")


def test_what_a_warm_up_proves_is_no_belief(tmp_path: Path) -> None:
    """Of one that nothing is known of, and of one whose like are up most of the time."""
    priced = {"guess": None, "tokens": TOKENS}
    tree = {
        "deployments": {
            name: {"provider": "scripted", "model": name, "price": price}
            for name, price in priced.items()
        },
        "models": {name: {"deployments": [name]} for name in priced},
    }
    boots = Boots()
    with running_gateway(tree, tmp_path, boots) as gateway:
        boots.asleep(guess=0.01, tokens=0.01)
        believed = {name: proof(gateway, name) for name in priced}
        assert believed == {
            "guess": ("unknown", None, None),
            "tokens": ("likely warm", None, None),
        }
        for name in priced:
            assert warmed(gateway, name) == ("warm", "warm", "probe")
        boots.asleep(guess=CapacityUnavailable(), tokens=CapacityUnavailable())
        for name in priced:
            assert warmed(gateway, name) == ("off", "off", "probe")


class Kept(ScriptedDeployment):
    """One that a policy boots: by its scale, or by asking; either waits until it is up."""

    async def comes_up(self) -> None:
        provider = self._provider
        assert isinstance(provider, KeptUp)
        provider.asked += 1
        await provider.up.wait()
        provider.states[self._model] = "ready"


class Scaled(Kept):
    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        if minimum:
            await self.comes_up()


class Pinged(Kept):
    async def warm(self) -> None:
        await self.comes_up()


class KeptUp(Scripts):
    def __init__(self, kind: type[Kept]) -> None:
        super().__init__()
        self._kind = kind
        self.up = asyncio.Event()
        self.asked = 0

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        kind: Callable[..., ScriptedDeployment]
        kind = self._kind if model == "m-a" else ScriptedDeployment
        self.only(model, END)
        return kind(self, model, options)


@pytest.mark.parametrize("kind", [Scaled, Pinged])
def test_a_boot_that_a_policy_has_begun(tmp_path: Path, kind: type[Kept]) -> None:
    always = {
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "begin": "00:00",
        "end": "00:00",
        "time_zone": "UTC",
    }
    keep_warm = {"policy": "fixed", "boot_seconds": 30, "schedules": [always]}
    kept = KeptUp(kind)
    with running_gateway(tree(keep_warm=keep_warm), tmp_path, kept) as gateway:
        eventually(lambda: standing(gateway, "m-a")["state"] == "booting")
        assert standing(gateway, "m-a")["p_warm_evidence"] == "kept"
        refused(gateway)
        gateway.answer("deployment:m-b")
        answer = gateway.answer("m", routing=SPILL)
        assert answer["deployment"] == "m-b"
        told = {x["deployment"]: x["state"] for x in answer["candidates"]}
        assert told == {"m-a": "booting", "m-b": "warm"}
        assert gateway.answer("m", dry_run=True)["order"] == ["m-a", "m-b"]
        assert not gateway.scripts.calls("m-a")
        assert gateway.loop is not None
        gateway.loop.call_soon_threadsafe(kept.up.set)
        eventually(lambda: standing(gateway, "m-a")["state"] == "warm")
        assert gateway.answer("m", routing=FAIL)["deployment"] == "m-a"
        assert kept.asked == 1
