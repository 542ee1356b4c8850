"""Kill the gateway at a random moment, again and again: what was answered is in the ledger."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gateways import Gateway, exchange, run, serving, until
from tests.emulators.openai_chat import KEY, OpenAIChat
from tests.serving import serve

REQUESTS = 200
CALLERS = 8
CONFIG = """
providers:
  quick: {{kind: openai_chat, base_url: "{url}", api_key: "{key}"}}
deployments:
  quick: {{provider: quick, model: warm,
           price: {{usd_per_million_input_tokens: "0.05", usd_per_million_output_tokens: "0.08"}}}}
models:
  quick: {{deployments: [quick]}}
"""


class Callers:
    """So many requests by several callers at once, half of them streamed."""

    def __init__(self, gateway: Gateway, until_answered: int) -> None:
        self._gateway = gateway
        self._left = iter(range(REQUESTS))
        self._lock = threading.Lock()
        self._until_answered = until_answered
        self.answered: list[str] = []
        self.enough = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _call(self) -> None:
        connection = self._gateway.connect()
        try:
            while True:
                with self._lock:
                    number = next(self._left, None)
                if number is None:
                    return
                streamed = number % 2 == 1
                body = {"model": "quick", "input": f"question {number}", "stream": streamed}
                answer = exchange(connection, "POST", "/v1/generate", body)
                assert answer.status == 200
                if streamed and b"\nevent: finished\n" not in answer.raw:
                    return  # a stream that broke off is no answer
                with self._lock:
                    self.answered.append(answer.headers["x-request-id"])
                    if len(self.answered) >= self._until_answered:
                        self.enough.set()
        except (OSError, http.client.HTTPException):
            return  # the gateway is dead
        finally:
            connection.close()


def all_operations(gateway: Gateway) -> Iterator[Any]:
    cursor = ""
    while cursor is not None:
        page = gateway.get(f"/v1/operations?limit=1000{cursor and '&cursor=' + cursor}")
        yield from page["data"]
        cursor = page["next_cursor"]


def test_every_answer_is_in_the_ledger_once(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    rounds: int = pytestconfig.getoption("--rounds")
    seed = time.time_ns()
    chance = random.Random(seed)
    print(f"seed {seed}")
    upstream = OpenAIChat()
    answered: list[str] = []
    with serve(upstream) as url, ExitStack() as stack:
        config = tmp_path / "gateway.yml"
        config.write_text(CONFIG.format(url=url, key=KEY))
        for number in range(rounds):
            # The next one does not wait until the last one's shipper has ended.
            log = tmp_path / f"{number}.log"
            gateway = stack.enter_context(serving(config, tmp_path / "data", log))
            callers = Callers(gateway, until_answered=chance.randrange(1, REQUESTS))
            callers.start()
            assert callers.enough.wait(30)
            time.sleep(chance.uniform(0, 0.005))
            gateway.kill()
            callers.join()
            answered += callers.answered
        gateway = stack.enter_context(serving(config, tmp_path / "data", tmp_path / "last.log"))
        # What the last one left running is closed at the start, and shipped some moments later.
        until(
            lambda: "running" not in {operation["status"] for operation in all_operations(gateway)}
        )
        operations = {operation["id"]: operation for operation in all_operations(gateway)}
        (total,) = gateway.get("/v1/costs")["data"]
    assert len(set(answered)) == len(answered) >= rounds
    for operation_id in answered:
        operation = operations[operation_id]
        assert operation["status"] == "succeeded"
        assert len(operation["attempts"]) == 1
    attempts = [attempt for operation in operations.values() for attempt in operation["attempts"]]
    assert len({attempt["id"] for attempt in attempts}) == len(attempts) == total["attempts"]
    statuses = Counter(operation["status"] for operation in operations.values())
    print(f"{rounds} rounds, {len(answered)} answers read, in the ledger: {dict(statuses)}")
    assert statuses.keys() <= {"succeeded", "interrupted", "cancelled"}
    # Begun is written before the provider is called, so no call of it is missing either.
    assert len(operations) >= upstream.began("warm") >= len(answered)
    known = sum(Decimal(operation["cost"]["known_usd"]) for operation in operations.values())
    assert Decimal(total["known_usd"]) == known
    checked = run("ledger", "verify", "--data-dir", tmp_path / "data")
    assert (checked.status, checked.out) == (0, "The ledger is sound.\n")
