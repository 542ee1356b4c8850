"""Several callers wait for one boot that nobody is said to have caused: it is one boot's money."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from providers.contract import Booting, Delta, Finished, Started
from providers.testing import Until
from tests.gateway_app.gateways import events_of, running_gateway, wait_for_event

RATE = Decimal("0.01")
CALLERS = 3


@pytest.mark.parametrize(
    ("instances", "shared", "boots"),
    [(["i-1"] * CALLERS, False, 1), ([None] * CALLERS, True, 1), (["a", "b", "c"], False, 3)],
    ids=["one instance", "one machine for all", "an instance each"],
)
def test_reports_sum_a_boot_once(
    tmp_path: Path, instances: list[str | None], shared: bool, boots: int
) -> None:
    price = {"usd_per_second": str(RATE), "bills": ["execute", "boot"], "shared": shared}
    limits = {"max_concurrency_cold": None}  # all of them are sent, and wait there
    own = {"provider": "scripted", "model": "own", "price": price, "limits": limits}
    tree = {"deployments": {"own": own}, "models": {"own": {"deployments": ["own"]}}}
    with running_gateway(tree, tmp_path) as gateway:
        up = asyncio.Event()
        gateway.scripts.only(
            "own",
            *(
                (Booting("loading_reported"), Until(up), Started(of), Delta("x"), Finished())
                for of in instances
            ),
        )
        with (
            gateway.streaming("own") as first,
            gateway.streaming("own") as second,
            gateway.streaming("own") as third,
        ):
            streams = [events_of(response) for response in (first, second, third)]
            for events in streams:
                wait_for_event(events, "booting")
            assert gateway.loop is not None
            gateway.loop.call_soon_threadsafe(up.set)
            answers = [wait_for_event(events, "finished").data for events in streams]
        for answer in answers:
            assert answer["cold_start"]["caused_boot"] is None
            gateway.operation(answer["id"])
        waited = [Decimal(str(answer["timing"]["boot_seconds"])) for answer in answers]
        (total,) = gateway.get("/v1/costs")["data"]
    paid = {line["kind"]: Decimal(line["usd"]) for line in total["lines"]}
    wanted = RATE * (max(waited) if boots == 1 else sum(waited))
    assert abs(paid["boot_seconds"] - wanted) <= Decimal("0.00000005")  # microseconds
    assert_range(total, paid)


def assert_range(total: Any, paid: dict[str, Decimal]) -> None:
    """From no boot at all to what is booked."""
    low, high = (Decimal(total["range_usd"][end]) for end in ("low", "high"))
    assert low == paid["execute_seconds"]
    assert high == Decimal(total["known_usd"]) == sum(paid.values())
