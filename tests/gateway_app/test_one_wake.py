"""One operation wakes a deployment once, unless nothing else is left to try."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.limits.circuit import FAILURES
from providers.contract import ProviderError, UpstreamFailed
from providers.testing import Until
from tests.gateway_app.cold import BOOT, Cold
from tests.gateway_app.cold import deployment as off_soon
from tests.gateway_app.gateways import Gateway, eventually, running_gateway
from tests.gateway_app.test_beside_a_dual_boot import booting, queued
from tests.gateway_app.test_beside_a_dual_boot import tree as two
from tests.gateway_app.test_dual_boot import END, Boots

Asks = Callable[[], "Future[Any]"]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Gateway, Asks]]:
    """Two that are booted for one caller."""
    tree = {**two(), "retries": {"attempts_per_deployment": 2, "backoff_seconds": 0.01}}
    with running_gateway(tree, tmp_path, Boots()) as gateway, ThreadPoolExecutor(4) as pool:
        yield gateway, lambda: pool.submit(gateway.answer, "m")


def attempts(answer: Any) -> list[tuple[str, str]]:
    return [(attempt["deployment"], attempt["status"]) for attempt in answer["attempts"]]


def test_the_one_that_is_up_is_asked_again_before_the_slower_is_woken(
    both: tuple[Gateway, Asks],
) -> None:
    gateway, asks = both
    boots = booting(gateway)
    boots.only("m-b", (UpstreamFailed(),), END)
    answer = asks()
    eventually(lambda: len(boots.warmed) == 2)
    boots.is_up("m-b")
    told = attempts(answer.result())
    assert sorted(told[:2]) == [("m-a", "lost_hedge"), ("m-b", "failed")]
    assert told[2:] == [("m-b", "succeeded")]
    assert len(boots.warmed) == 2 and not boots.calls("m-a")


@pytest.mark.parametrize(
    ("failure", "then"),
    [
        (UpstreamFailed(), ["m-b", "m-b"]),
        # nobody asks twice where a job may have run; nothing but the slower one is left
        (UpstreamFailed(may_have_run=True), ["m-b", "m-a"]),
    ],
)
def test_one_who_was_moved_to_what_is_up_stays_there(
    both: tuple[Gateway, Asks], failure: ProviderError, then: list[str]
) -> None:
    gateway, asks = both
    boots = booting(gateway)
    boots.only("m-b", END, (failure,), END)
    first = asks()
    eventually(lambda: len(boots.warmed) == 2)
    moved = asks()
    eventually(lambda: queued(gateway, "m-a") == 1)
    boots.is_up("m-b")
    assert first.result()["deployment"] == "m-b"
    answer = moved.result()
    assert [name for name, _ in attempts(answer)] == then
    assert len(boots.calls("m-a")) == then.count("m-a")


def test_many_who_wait_for_one_that_fails_to_boot_do_not_all_wake_it(tmp_path: Path) -> None:
    tree = {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            "broken": off_soon(model="broken"),
            "sound": {"provider": "scripted", "model": "sound"},
        },
        "models": {
            "broken": {"deployments": ["broken"]},
            "m": {"deployments": ["broken", "sound"], "strategy": "priority"},
        },
    }
    with running_gateway(tree, tmp_path) as gateway, ThreadPoolExecutor(30) as pool:
        cold = Cold(gateway, pool, "broken")
        gateway.scripts.only("sound", END)
        gateway.scripts.only("broken", (BOOT, Until(cold.up), UpstreamFailed()))
        callers = [cold.asks(model="m") for _ in range(20)]
        alone = cold.asks()  # it has nowhere else to go
        cold.queued(20)
        cold.ready()
        assert {caller.result().json()["deployment"] for caller in callers} == {"sound"}
        assert alone.result().status_code == 502
        assert cold.calls() <= FAILURES + 1
