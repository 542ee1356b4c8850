"""Who is told to come back, and comes back to another gateway than the one that said so."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx

from tests.acceptance.gateways import Gateway, run, serving, until
from tests.benchmarks.crowd_upstream import ScaleToZero
from tests.serving import serve

BOOT_SECONDS = 2.0
CONFIG = """
server: {{drain_seconds: 20}}
providers:
  far: {{kind: openai_chat, base_url: "{url}/v1", api_key: none,
         cold_when: [{{status: 503, contains: Loading}}]}}
deployments:
  far: {{provider: far, model: m, price: {{usd_per_second: "0.001", bills: [execute, boot]}}}}
models:
  far: {{deployments: [far]}}
"""
JSON = {"content-type": "application/json"}
SDK = {**JSON, "x-stainless-read-timeout": "0.4"}
CALL = json.dumps({"model": "far", "messages": [{"role": "user", "content": "once"}]})


def ask(gateway: Gateway, nth: int | None) -> httpx.Response:
    """As an SDK does, its ``nth`` try, from 0; None: as somebody who says nothing of patience."""
    headers = {**SDK, "x-stainless-retry-count": str(nth)} if nth is not None else JSON
    url = f"{gateway.url}/v1/chat/completions"
    return httpx.post(url, content=CALL, headers=headers, timeout=20)


def told(response: httpx.Response) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "cold_start_timeout")
    return str(error["operation_id"])


def begun(data_dir: Path) -> list[str]:
    files = (data_dir / "journal").glob("*.ndjson")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line["attempt"]["attempt_id"] for line in lines if line["kind"] == "begin"]


def test_one_new_run_after_a_kill_and_none_after_a_stop(tmp_path: Path) -> None:
    """What ends while the gateway stops is kept for whoever was told to come back."""
    upstream, config = ScaleToZero(BOOT_SECONDS, 60.0), tmp_path / "gateway.yml"

    def started(nth: int, **environment: str) -> AbstractContextManager[Gateway]:
        return serving(config, tmp_path / "d", tmp_path / f"{nth}.log", **environment)

    with serve(upstream) as url:
        config.write_text(CONFIG.format(url=url))
        with started(1) as gateway:
            killed = told(ask(gateway, 0))
            gateway.kill()
        with started(2) as gateway:
            upstream._up_from = None  # what boots there went down with who had asked
            stopped = told(ask(gateway, 1))
            gateway.ask_to_stop()  # nobody is connected, and its boot takes a while
            assert gateway.process.wait(20) == 0
        impatient = {"GATEWAY__SERVER__DRAIN_SECONDS": "0.1"}
        with started(3, **impatient) as gateway, ThreadPoolExecutor(2) as callers:
            answer = ask(gateway, 2)
            assert (answer.status_code, answer.json()["id"]) == (200, stopped)
            assert answer.json()["usage"]["replayed_from"] == stopped
            assert answer.headers["x-gateway-cost-usd"] == "0"
            another = ask(gateway, 0).json()["id"]  # the same words, but nobody told it to come

            def listed() -> dict[str, Any]:
                return {x["id"]: x for x in gateway.get("/v1/operations")["data"]}

            until(lambda: another in listed() and listed()[killed]["status"] != "running")
            ended = {x["id"]: (x["status"], len(x["attempts"])) for x in listed().values()}

            upstream._boot_seconds, upstream._up_from = 3600.0, None
            boots = callers.submit(ask, gateway, None)
            until(lambda: gateway.get("/v1/deployments")["data"][0]["state"] == "booting")
            held = callers.submit(ask, gateway, None)
            until(lambda: gateway.get("/v1/operations")["held"])
            sent = len(begun(tmp_path / "d"))
            gateway.ask_to_stop()
            for cut in (boots.result(), held.result()):
                assert (cut.status_code, cut.json()["error"]["code"]) == (503, "draining")
                assert cut.headers["retry-after"] == "1"
            assert gateway.process.wait(20) == 0
            assert len(begun(tmp_path / "d")) == sent  # nobody wakes it for a gateway that ends
    assert ended == {
        killed: ("interrupted", 1),
        stopped: ("succeeded", 1),
        another: ("succeeded", 1),
    }
    checked = run("ledger", "verify", "--data-dir", tmp_path / "d")
    assert (checked.status, checked.out) == (0, "The ledger is sound.\n")
