"""A deployment that is taken out of service while it boots and others wait for that."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from providers.contract import UpstreamFailed
from providers.testing import Until
from tests.gateway_app.cold import BOOT, WARM, Cold, deployment
from tests.gateway_app.gateways import running_gateway


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[Cold]:
    tree = {
        "retries": {"attempts_per_deployment": 2},
        "deployments": {name: deployment(model=name) for name in ("own", "other")},
        "models": {
            "own": {"deployments": ["own"]},
            "both": {"deployments": ["own", "other"], "strategy": "priority"},
        },
    }
    with running_gateway(tree, tmp_path) as gateway, ThreadPoolExecutor(8) as pool:
        found = Cold(gateway, pool, "own")
        yield found
        found.ready()


def test_one_taken_out_of_service_in_its_boot_serves_those_who_wait_for_that(cold: Cold) -> None:
    first = cold.wakes()
    others = [cold.asks() for _ in range(3)]
    cold.queued(3)
    with cold.out_of_service():
        assert cold.asks().result().json()["error"]["code"] == "deployments_cordoned"
        cold.ready()
        assert {caller.result().status_code for caller in (first, *others)} == {200}
    assert cold.calls() == 4


def test_one_taken_out_of_service_is_not_woken_anew(cold: Cold) -> None:
    """Nobody pays for another boot there; who may be served elsewhere is."""
    cold.gateway.scripts.only("other", WARM)
    for model in ("both", cold.name):
        cold.up.clear()
        cold.plays((BOOT, Until(cold.up), UpstreamFailed()))
        first = cold.wakes()
        waits = cold.asks(model=model)
        cold.queued(1)
        with cold.out_of_service():
            cold.ready()
            assert first.result().status_code == 502
            answer = waits.result()
        assert cold.calls() == 1
        if model == "both":
            assert answer.json()["deployment"] == "other"
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (
                *(503, "deployments_cordoned"),
            )
            assert int(answer.headers["retry-after"]) >= 1
            assert not cold.gateway.rows(answer.json()["error"]["operation_id"])
