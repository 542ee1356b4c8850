"""Two deployments that boot for one request: the first that is up gets it, both are booked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from providers.contract import (
    Booting,
    CapacityUnavailable,
    Delta,
    Finished,
    ModelLoading,
    Phases,
    ProbeState,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Started,
    UpstreamTimeout,
    Usage,
)
from providers.testing import Wait
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions, Step
from tests.gateway_app.gateways import Gateway, Scripts, eventually, running_gateway

END = (Started(), Delta("hi"), Finished(("stop",), Usage(10, 20)))
QUICK, SLOW, NEVER = 0.05, 0.4, 3600.0
TOKENS = {"usd_per_million_input_tokens": "1", "usd_per_million_output_tokens": "1"}
SECONDS = {"usd_per_second": "0.01", "bills": ["execute", "boot"]}


class Bootable(ScriptedDeployment):
    """It can be booted without work; how long that takes, or how it fails, the test says."""

    def __init__(self, owner: Boots, model: str, options: ScriptedOptions) -> None:
        super().__init__(owner, model, options)
        self._owner, self._name = owner, model

    async def probe(self) -> ProbeState:
        await asyncio.sleep(self._owner.looks_seconds)
        return await super().probe()

    async def warm(self) -> None:
        owner, name = self._owner, self._name
        owner.warmed.append(name)
        boot = owner.boots[name]
        if isinstance(boot, ProviderError):
            raise boot
        if owner.says_at_once:
            asyncio.get_running_loop().call_later(boot, owner.is_up, name)
            return
        try:
            await asyncio.sleep(boot)
        except asyncio.CancelledError:
            owner.cancelled.append(name)
            raise
        owner.is_up(name)


class Boots(Scripts):
    """Scripts of deployments that boot."""

    def __init__(self) -> None:
        super().__init__()
        self.boots: dict[str, float | ProviderError] = {}
        self.warmed: list[str] = []
        self.cancelled: list[str] = []
        self.says_at_once = False
        self.looks_seconds = 0.0

    def is_up(self, name: str) -> None:
        self.states[name] = "ready"

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        kind = ScriptedDeployment if model.startswith("plain") else Bootable
        return kind(self, model, options)

    def asleep(self, **boots: float | ProviderError) -> None:
        """These are off from now on, and boot so long."""
        self.boots, self.warmed, self.cancelled = boots, [], []
        for name in boots:
            self.states[name] = "down"
            self.only(name, END)


def deployment(name: str, price: Any) -> dict[str, Any]:
    # With a window that is known, one that was never asked is known to be cold.
    more = {"idle_window_seconds": 60}
    return {"provider": "scripted", "model": name, "price": price, **more}


_FRESH = iter(range(11))


@pytest.fixture
def free() -> str:
    """A model whose boots are free and whose deployments were never asked."""
    return f"free{next(_FRESH)}"


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    pairs = {
        **{f"free{number}": (TOKENS, {}) for number in range(11)},
        "billed": (SECONDS, {}),
        "agreed": (SECONDS, {"hedge": "when_cold"}),
        "tight": (SECONDS, {"hedge": "when_cold"}),
        "never": (TOKENS, {"hedge": "never"}),
        "ordered": (TOKENS, {"strategy": "priority"}),
        "plain": (TOKENS, {"hedge": "when_cold"}),
    }
    tree = {
        "retries": {"attempts_per_deployment": 1},
        # room for one slice of ten seconds
        "budgets": [{"name": "tight", "limit_usd": "0.15", "per": "total", "tag": {"plan": "t"}}],
        "deployments": {
            f"{model}-{letter}": deployment(f"{model}-{letter}", price)
            for model, (price, _) in pairs.items()
            for letter in "ab"
        },
        "models": {
            model: {"deployments": [f"{model}-a", f"{model}-b"], **rules}
            for model, (_, rules) in pairs.items()
        },
    }
    with running_gateway(tree, tmp_path_factory.mktemp("cold"), Boots()) as running:
        yield running


def boots_of(gateway: Gateway) -> Boots:
    assert isinstance(gateway.scripts, Boots)
    return gateway.scripts


def asleep(gateway: Gateway, model: str, a: Any, b: Any) -> Boots:
    boots = boots_of(gateway)
    boots.says_at_once = False
    boots.asleep(**{f"{model}-a": a, f"{model}-b": b})
    return boots


def rows_of(gateway: Gateway, answer: Any) -> dict[str, Any]:
    return {row["deployment"].partition("-")[2]: row for row in gateway.rows(answer["id"])}


def test_the_first_that_is_up_gets_the_request_once(cold: Gateway, free: str) -> None:
    boots = asleep(cold, free, SLOW, QUICK)
    answer = cold.answer(free)
    assert answer["deployment"] == f"{free}-b" and answer["output"][0]["text"] == "hi"
    assert sorted(boots.warmed) == [f"{free}-a", f"{free}-b"] and boots.cancelled == [f"{free}-a"]
    assert (len(boots.calls(f"{free}-a")), len(boots.calls(f"{free}-b"))) == (0, 1)
    rows = rows_of(cold, answer)
    assert (rows["a"]["status"], rows["b"]["status"]) == ("lost_hedge", "succeeded")
    # whoever waited for that boot was cold, whatever the call itself would have found
    for row in rows.values():
        told = (row["verdict"], row["evidence"], row["caused_boot"])
        assert told == ("cold", "scale_state", True)
        assert row["boot_seconds"] >= QUICK * 0.8
    # nothing was sent to the slower one, and no price bills its boot
    assert (rows["a"]["cost_status"], rows["a"]["cost_pico_usd"]) == ("measured", 0)
    assert rows["a"]["input_tokens"] == 0
    explained = {
        x["deployment"]: x["dual_boot"] for x in cold.operation(answer["id"])["candidates"]
    }
    assert explained == {
        f"{free}-a": f"booted beside {free}-b",
        f"{free}-b": f"booted beside {free}-a",
    }


def test_the_order_that_was_asked_for_is_not_left_for_it(cold: Gateway, free: str) -> None:
    for model in ("billed", "never", "ordered"):
        boots = asleep(cold, model, SLOW, QUICK)
        assert cold.answer(model)["deployment"] == f"{model}-a"
        assert not boots.warmed, model
    assert cold.answer(free, dry_run=True)["boots"] == [f"{free}-a", f"{free}-b"]
    assert cold.answer("billed", dry_run=True)["boots"] == []


def test_a_provider_without_such_a_power_is_asked_as_ever(cold: Gateway) -> None:
    boots = boots_of(cold)
    boots.only("plain-a", END)
    assert cold.answer("plain")["deployment"] == "plain-a"


def test_where_the_model_says_so_both_boots_are_paid_for(cold: Gateway) -> None:
    asleep(cold, "agreed", SLOW, QUICK)
    answer = cold.answer("agreed")
    rows = rows_of(cold, answer)
    assert answer["deployment"] == "agreed-b"
    billed, waited = {}, {}
    for name, row in rows.items():
        (line,) = [x for x in row["cost_lines"] if x["kind"] == "boot_seconds"]
        billed[name], waited[name] = Decimal(line["quantity"]), Decimal(str(row["boot_seconds"]))
    assert billed["b"] == waited["b"]
    # the slower one's goes on at its provider: as long as a boot takes, for all that is known
    assert billed["a"] - waited["a"] > 1
    assert (rows["a"]["cost_status"], rows["b"]["cost_status"]) == ("estimated", "measured")
    assert rows["a"]["low_pico_usd"] == int(waited["a"] * Decimal("0.01") * 10**12)
    assert rows["a"]["low_pico_usd"] < rows["a"]["cost_pico_usd"] < rows["a"]["high_pico_usd"]
    known = sum(row["known_pico_usd"] for row in rows.values())
    assert Decimal(answer["cost"]["known_usd"]) == Decimal(known) / 10**12


def test_a_budget_that_has_no_room_for_two_boots_one(cold: Gateway) -> None:
    boots = asleep(cold, "tight", QUICK, QUICK)
    answer = cold.answer("tight", tags={"plan": "t"})
    assert boots.warmed == ["tight-a"] and list(rows_of(cold, answer)) == ["a"]
    told = {x["deployment"]: x["dual_boot"] for x in answer["candidates"]}
    assert told["tight-a"] == "booted alone"
    assert told["tight-b"].startswith("not booted: The budget tight has no room")


def test_a_boot_that_only_a_probe_sees_end(cold: Gateway, free: str) -> None:
    boots = asleep(cold, free, NEVER, QUICK)
    boots.says_at_once = True
    answer = cold.answer(free)
    assert answer["deployment"] == f"{free}-b"
    assert QUICK * 0.8 <= rows_of(cold, answer)["b"]["boot_seconds"] < 2


def test_one_that_is_up_already_gets_it_at_once(cold: Gateway, free: str) -> None:
    boots = asleep(cold, free, NEVER, NEVER)
    boots.states[f"{free}-b"] = "ready"
    answer = cold.answer(free)
    row = rows_of(cold, answer)["b"]
    assert (answer["deployment"], row["verdict"]) == (f"{free}-b", "unknown")
    assert row["boot_seconds"] is None


def test_a_boot_that_fails_leaves_it_to_the_other(cold: Gateway, free: str) -> None:
    asleep(cold, free, SLOW, CapacityUnavailable())
    answer = cold.answer(free)
    rows = rows_of(cold, answer)
    assert (answer["deployment"], rows["b"]["status"]) == (f"{free}-a", "failed")
    assert rows["b"]["error_type"] == "CapacityUnavailable" and rows["b"]["cost_pico_usd"] == 0


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize(
    "failure",
    [
        QuotaExhausted(),
        RateLimited(retry_after_seconds=3.0),
        UpstreamTimeout(may_have_run=True),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_one_that_is_up_first_and_then_fails_has_had_its_attempt(
    tmp_path: Path, failure: ProviderError, attempts: int
) -> None:
    """A second one at once would be refused as well, or be a second job and a second bill."""
    tree = {
        "retries": {"attempts_per_deployment": attempts, "max_wait_seconds": 1.0},
        "deployments": {f"m-{x}": deployment(f"m-{x}", TOKENS) for x in "ab"},
        "models": {"m": {"deployments": ["m-a", "m-b"]}},
    }
    with running_gateway(tree, tmp_path, Boots()) as gateway:
        boots = asleep(gateway, "m", QUICK, NEVER)
        boots.only("m-a", (failure,))
        answer = gateway.answer("m")
        assert answer["deployment"] == "m-b"
        assert (len(boots.calls("m-a")), len(boots.calls("m-b"))) == (1, 1)
        rows = sorted(gateway.rows(answer["id"]), key=lambda row: row["ordinal"])
        assert [(row["deployment"], row["status"]) for row in rows] == [
            ("m-a", "failed"),
            ("m-b", "lost_hedge"),
            ("m-b", "succeeded"),
        ]


def test_one_that_fails_after_its_boot_is_asked_again_after_the_pause(tmp_path: Path) -> None:
    tree = {
        "deployments": {f"m-{x}": deployment(f"m-{x}", TOKENS) for x in "ab"},
        "models": {"m": {"deployments": ["m-a", "m-b"]}},
    }
    with running_gateway(tree, tmp_path, Boots()) as gateway:
        boots = asleep(gateway, "m", QUICK, NEVER)
        boots.only("m-a", (RateLimited(retry_after_seconds=0.2),), END)
        answer = gateway.answer("m")
        assert answer["deployment"] == "m-a"
        rows = [row for row in gateway.rows(answer["id"]) if row["deployment"] == "m-a"]
        first, again = sorted(rows, key=lambda row: row["ordinal"])
        # The pause begins a moment before the attempt is written down as completed.
        assert again["begun_at_us"] - first["completed_at_us"] >= 190_000


def test_the_boots_time_ends_with_the_boot(tmp_path: Path) -> None:
    """What comes after it is work, though the provider has not said a word of it yet."""
    limited = {"timeouts": {"boot_seconds": 1.0}}
    tree = {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {f"m-{x}": {**deployment(f"m-{x}", SECONDS), **limited} for x in "ab"},
        "models": {"m": {"deployments": ["m-a", "m-b"], "hedge": "when_cold"}},
    }
    with running_gateway(tree, tmp_path, Boots()) as gateway:
        boots = asleep(gateway, "m", QUICK, NEVER)
        boots.only("m-a", (Wait(1.2), *END))
        answer = gateway.answer("m")
        row = rows_of(gateway, answer)["a"]
        assert (answer["deployment"], row["verdict"]) == ("m-a", "cold")
        assert row["boot_seconds"] < 1.0 < row["execute_seconds"]


def test_a_failure_without_a_word_comes_after_the_boot(cold: Gateway, free: str) -> None:
    boots = asleep(cold, free, QUICK, NEVER)
    boots.only(f"{free}-a", (Wait(0.3), CapacityUnavailable()))
    row = rows_of(cold, cold.answer(free))["a"]
    assert row["status"] == "failed" and row["boot_seconds"] >= QUICK * 0.8
    assert row["execute_seconds"] >= 0.3 * 0.8


@pytest.mark.parametrize(
    "script",
    [(Booting("phase_reported"), Wait(0.3), *END), None],
    ids=["told", "refused"],
)
def test_one_that_was_up_only_by_its_own_word_boots_on(
    cold: Gateway, free: str, script: tuple[Step, ...] | None
) -> None:
    boots = asleep(cold, free, QUICK, NEVER)
    if script is None:
        loading = ModelLoading(evidence="phase_reported", retry_after_seconds=0.3)
        boots.only(f"{free}-a", (loading,), END)
    else:
        boots.only(f"{free}-a", script)
    answer = cold.answer(free)
    row = rows_of(cold, answer)["a"]
    assert (answer["deployment"], row["status"]) == (f"{free}-a", "succeeded")
    assert row["boot_seconds"] >= (QUICK + 0.3) * 0.8


def test_the_provider_knows_the_call_alone(cold: Gateway, free: str) -> None:
    """It says that it was warm, which it was when the call came."""
    boots = asleep(cold, free, SLOW, QUICK)
    warm = Phases(boot_seconds=0.0, wait_seconds=0.0, execute_seconds=0.25, evidence="scale_state")
    boots.only(f"{free}-b", (Started(), Delta("hi"), Finished(("stop",), None, warm)))
    row = rows_of(cold, cold.answer(free))["b"]
    assert (row["verdict"], row["execute_seconds"]) == ("cold", 0.25)
    assert row["boot_seconds"] >= QUICK * 0.8 and row["wait_seconds"] >= QUICK * 0.8


def test_hanging_up_ends_both(cold: Gateway, free: str) -> None:
    boots = asleep(cold, free, NEVER, NEVER)
    with cold.streaming(free) as response:
        assert response.status_code == 200
        eventually(lambda: len(boots.warmed) == 2)
    eventually(lambda: not cold.running())
    assert [row["status"] for row in cold.last_rows(free)] == ["cancelled"] * 2
    assert sorted(boots.cancelled) == [f"{free}-a", f"{free}-b"]


def test_many_callers_are_one_pair_of_boots(cold: Gateway, free: str) -> None:
    boots = asleep(cold, free, SLOW, SLOW)
    boots.looks_seconds = 0.1  # so long, nobody has told of a boot
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: cold.answer(free), range(8)))
    assert len(boots.warmed) == 2
    assert {answer["status"] for answer in answers} == {"succeeded"}
