"""Budgets outlive the gateway: a stop, and a SIGKILL in the middle of an answer."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gateways import Gateway, run_all, serving, until
from tests.emulators.openai_chat import KEY, OpenAIChat

CONFIG = """
providers:
  quick: {{kind: openai_chat, base_url: "{url}", api_key: "{key}"}}
deployments:
  quick: {{provider: quick, model: warm, price: {{usd_per_million_output_tokens: "10000"}}}}
  stalls: {{provider: quick, model: stalls, price: {{usd_per_million_output_tokens: "10000"}}}}
models:
  quick: {{deployments: [quick]}}
  stalls: {{deployments: [stalls]}}
budgets:
  - {{name: everything, limit_usd: "1.00", per: total, slice_usd: "0.25"}}
  - {{name: search, limit_usd: "0.30", per: month, tag: {{team: search}}}}
"""
A_CALL_USD = Decimal("0.09")  # nine tokens at a cent


@pytest.fixture
def config(upstream: OpenAIChat, tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yml"
    path.write_text(CONFIG.format(url=upstream.url, key=KEY))
    return path


def budgets(gateway: Gateway) -> dict[str, Any]:
    """Once they are known."""
    found: dict[str, Any] = {}

    def known() -> bool:
        found.update({line["name"]: line for line in gateway.get("/v1/budgets")["data"]})
        return all(line["spent_usd"] is not None for line in found.values())

    until(known)
    return found


def spent_usd(gateway: Gateway, name: str) -> Decimal:
    return Decimal(budgets(gateway)[name]["spent_usd"])


def call(gateway: Gateway, most_tokens: int = 9) -> int:
    body = {
        "model": "quick",
        "input": "Hi",
        "parameters": {"max_output_tokens": most_tokens},
        "tags": {"team": "search"},
    }
    return gateway.call("POST", "/v1/generate", body).status


def test_a_restart_keeps_the_budget(config: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(config, data_dir, tmp_path / "first.log") as first:
        assert [call(first) for _ in range(2)] == [200, 200]
        assert spent_usd(first, "everything") == spent_usd(first, "search") == 2 * A_CALL_USD
    with serving(config, data_dir, tmp_path / "second.log") as second:
        # At once, before anything is known: it waits, and is refused for the right reason.
        assert call(second, 13) == 402
        assert call(second) == 200
        assert spent_usd(second, "search") == 3 * A_CALL_USD
        with second.stream("stalls") as events:  # nothing bounds it: it holds a slice
            while next(events)[0] != "delta":
                pass
            assert Decimal(budgets(second)["everything"]["reserved_usd"]) == Decimal("0.25")
            second.kill()
    with serving(config, data_dir, tmp_path / "third.log") as third:
        # What the killed one may have cost counts, up to what it held.
        assert spent_usd(third, "everything") == 3 * A_CALL_USD + Decimal("0.25")
        assert Decimal(budgets(third)["everything"]["reserved_usd"]) == 0
        assert spent_usd(third, "search") == 3 * A_CALL_USD
        assert call(third) == 402
    arguments: list[str | Path] = ["budgets", "--config", config, "--data-dir", data_dir]
    as_json, as_csv, table = run_all(
        [[*arguments, "--json"], [*arguments, "--csv"], arguments],
    )
    told = {line["name"]: line for line in json.loads(as_json.out)}
    assert (told["everything"]["spent_usd"], told["everything"]["left_usd"]) == ("0.52", "0.48")
    assert told["everything"]["reserved_usd"] is None
    lines = {line["name"]: line for line in csv.DictReader(io.StringIO(as_csv.out))}
    assert lines["search"]["spent_usd"] == "0.27" and lines["search"]["end_time"] != ""
    assert "search" in table.out and "never" in table.out
