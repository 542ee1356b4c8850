"""What broke off is settled by Replicate's own message, and not at the next look a minute later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.settings import load
from tests.acceptance.gateways import serving, until
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_world import FOREVER_SECONDS, Model, World
from tests.gateways import running
from tests.reconciliation.test_deaths import interrupt, lines, settled, written
from tests.reconciliation.test_hang_up import asked_about, hang_up, operation

PUBLIC = "https://gateway.example.com"
# After a look at the start nobody asks again for as long as a test can last.
CONFIG = """
reconciliation: {{every_seconds: 3600, first_pause_seconds: 3600}}
providers:
  replicate:
    api_token: "{key}"
    base_url: "{url}/v1"
    poll_seconds: 0.05
    webhook_base_url: https://gateway.example.com
deployments:
  slow: {{provider: replicate, model: emulated/slow, price: replicate-gpu-l40s, input: payload}}
models:
  slow: {{deployments: [slow]}}
"""


def resend(app: Replicate) -> int | None:
    """The last message once more, as it was, but for when it is sent."""
    post = app.hooks.posts[-1]
    headers = app.hooks.signed(post.id, post.body)
    return asyncio.run(app.hooks.send(post.url, headers, post.body))


def test_a_kill_9_is_settled_when_the_prediction_ends(
    emulator: Callable[[Any], str], tmp_path: Path
) -> None:
    app = Replicate(World(scale=4.0))
    app.models["emulated/slow"] = Model(
        output="text", execute_seconds=FOREVER_SECONDS, always_warm=True
    )
    app.url = emulator(app)
    config = written(CONFIG, tmp_path, url=app.url, key=app.key)
    data_dir = tmp_path / "data"

    def began() -> bool:
        return bool(lines(data_dir, "accepted")) and (
            app.world.status_of(app.last()) == "processing"
        )

    operation_id = interrupt(config, data_dir, tmp_path / "first.log", began)
    made = app.last()
    before = made.looks
    with serving(config, data_dir, tmp_path / "second.log") as second:
        app.hooks.leads_to[PUBLIC] = second.url
        app.world.cancel(made)
        found = settled(second, operation_id)
        assert Decimal(found["cost"]["total_usd"]) == made.billed_usd > 0
        assert (found["cost"]["status"], found["status"]) == ("measured", "interrupted")
        assert found["attempts"][0]["lookup"] == "looked_up"
        assert made.looks <= before + 1  # the look at the start may have found it running
        assert [resend(app), resend(app)] == [204, 204]
        assert second.get(f"/v1/operations/{operation_id}") == found


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate(World(scale=50.0))
    app.models["emulated/slow"] = Model(
        pieces=("word ",) * 900, execute_seconds=900.0, always_warm=True
    )
    app.url = emulator(app)
    return app


@pytest.fixture
def gateway(app: Replicate, tmp_path: Path) -> Iterator[str]:
    block = {"api_token": app.key, "base_url": f"{app.url}/v1", "webhook_base_url": PUBLIC}
    slow = {"provider": "replicate", "model": "emulated/slow", "price": "replicate-gpu-l40s"}
    changes = {
        "server": {"data_dir": str(tmp_path)},
        "reconciliation": {"every_seconds": 3600, "first_pause_seconds": 3600},
        "providers": {"replicate": block},
        "deployments": {"slow": slow},
        "models": {"slow": {"deployments": ["slow"]}},
    }
    with running(create_app(load(None, {}, changes), log_attempts=False)) as url:
        app.hooks.leads_to[PUBLIC] = url
        yield url


def test_one_that_was_left_is_settled_when_replicate_has_cancelled_it(
    app: Replicate, gateway: str
) -> None:
    operation_id = hang_up(gateway)
    until(lambda: asked_about(gateway, operation_id))
    made = app.last()
    found = operation(gateway, operation_id)
    assert (found["status"], made.status) == ("cancelled", "canceled")
    assert Decimal(found["cost"]["total_usd"]) == made.billed_usd > 0
    assert found["cost"]["status"] == "measured"
    looks = made.looks
    assert [resend(app), resend(app)] == [204, 204]
    assert operation(gateway, operation_id) == found and made.looks == looks
