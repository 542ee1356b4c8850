"""Kill a gateway that keeps a machine warm: the next one lets go of it, and books what it cost."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.stay_rules import GOES_ON, UNUSED, USED
from tests.acceptance.gateways import run_all, serving, until
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_wire import WARM
from tests.serving import serve

WINDOW_SECONDS = 0.05  # the provider's own
CONFIG = """
providers:
  runpod: {{api_key: "{key}", base_url: "{url}/v2", management_url: "{url}/rest/v2",
            poll_seconds: 0.02}}
deployments:
  kept: {{provider: runpod, endpoint: kept, model: m, streams: true, output_field: text,
          input: {{prompt: prompt, max_output_tokens: max_tokens}},
          price: {{usd_per_second: "0.001", bills: [execute, boot, idle]}},
          idle_window_seconds: {window}{policy}}}
models:
  kept: {{deployments: [kept]}}
"""
POLICY = """,
          keep_warm: {policy: fixed, window_seconds: 3600, monthly_budget_usd: "5"}"""


def stays(data_dir: Path) -> list[Any]:
    database = sqlite3.connect(database_path(data_dir))
    database.row_factory = sqlite3.Row
    rows = database.execute(
        "SELECT * FROM charges WHERE kind = 'keep_warm' ORDER BY period_start_at_us"
    ).fetchall()
    database.close()
    return rows


def journal_of(data_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in journal_dir(data_dir).iterdir())


@pytest.mark.parametrize("policy", [POLICY, ""], ids=["the same", "no policy any more"])
def test_a_stay_outlives_the_gateway_that_wanted_it(tmp_path: Path, policy: str) -> None:
    data_dir, config = tmp_path / "data", tmp_path / "gateway.yml"
    upstream = RunPod()
    place = upstream.endpoint("kept", WARM)
    with serve(upstream) as url:

        def configure(policy: str) -> None:
            given = {"url": url, "key": upstream.key, "window": WINDOW_SECONDS}
            config.write_text(CONFIG.format(**given, policy=policy))

        configure(POLICY)
        with serving(config, data_dir, tmp_path / "1.log") as gateway:
            gateway.generate("kept")
            until(lambda: place.minimum == 1)
            time.sleep(random.uniform(0.1, 0.5))
            gateway.kill()
        killed_us = time.time_ns() // 1000
        assert place.minimum == 1  # and somebody pays for it
        configure(policy)
        with serving(config, data_dir, tmp_path / "2.log") as gateway:
            until(lambda: place.minimum == 0)
            if not policy:
                until(lambda: UNUSED.encode() in journal_of(data_dir))
                gateway.generate("kept")
        assert place.minimum == 0
        ended_us = time.time_ns() // 1000
    booked = stays(data_dir)
    # Up to the start of the second one, and from there until it was let go of.
    begin_us, end_us = booked[0]["period_start_at_us"], booked[-1]["period_end_at_us"]
    assert begin_us < killed_us < end_us < ended_us
    total = sum(one["cost_pico_usd"] for one in booked)
    assert total == (end_us - begin_us) * 10**9 // 10**6
    asked = [
        ("keep-warm", "--config", config, "--data-dir", data_dir, "--json"),
        ("ledger", "verify", "--data-dir", data_dir),
    ]
    told, checked = run_all(asked)
    (said,) = json.loads(told.out)
    assert (said["stays_wasted"], said["cold_starts_avoided"], said["stays_open"]) == (1, 0, 0)
    assert Decimal(said["wasted_usd"]).scaleb(12) == total
    assert (checked.status, checked.out) == (0, "The ledger is sound.\n")


def test_what_was_held_while_it_worked_is_paid_for_after_a_death(tmp_path: Path) -> None:
    data_dir, config = tmp_path / "data", tmp_path / "gateway.yml"
    upstream = RunPod()
    place = upstream.endpoint("kept", WARM)
    with serve(upstream) as url:
        given = {"url": url, "key": upstream.key, "window": WINDOW_SECONDS}
        config.write_text(CONFIG.format(**given, policy=POLICY))
        with serving(config, data_dir, tmp_path / "1.log") as gateway:
            gateway.generate("kept")
            until(lambda: place.minimum == 1)
            time.sleep(2 * WINDOW_SECONDS)
            place.handler = replace(WARM, execute_seconds=3600.0)
            with gateway.stream("kept"):
                until(lambda: USED.encode() in journal_of(data_dir))  # so it has begun
                gateway.kill()
        killed_us = time.time_ns() // 1000
        time.sleep(0.3)
        with serving(config, data_dir, tmp_path / "2.log"):
            until(lambda: place.minimum == 0)
    ended_us = time.time_ns() // 1000
    booked = stays(data_dir)
    (place_of_use,) = [at for at, row in enumerate(booked) if row["rule"] == USED]
    used, held_on = booked[place_of_use], booked[place_of_use + 1 :]
    assert {row["rule"] for row in held_on[:-1]} == {GOES_ON} and held_on[-1]["rule"] == UNUSED
    begin_us, end_us = held_on[0]["period_start_at_us"], held_on[-1]["period_end_at_us"]
    own_us = round(WINDOW_SECONDS * 1e6)  # after the last sign of life
    assert used["period_end_at_us"] + own_us <= begin_us <= killed_us + own_us
    assert begin_us < held_on[0]["period_end_at_us"] < end_us < ended_us
    (checked,) = run_all([("ledger", "verify", "--data-dir", data_dir)])
    assert (checked.status, checked.out) == (0, "The ledger is sound.\n")
