"""One set of checks through a whole gateway: of a live service, and of its emulator."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.app import create_app
from gateway.registry import Registry
from gateway.settings import Settings
from providers.contract import JobReport, Reconcilable
from providers.modal import plugin as modal_plugin
from providers.toolkit.http import open_http
from tests.gateways import running
from tests.live.recording import Recording
from tests.live.services import ANSWER_TOKENS, LONG_TOKENS, Service, Setting
from tests.live.shapes import differences, unlisted

QUESTION = "Name three colours."
ORDER = ("created", "accepted", "queued", "booting", "started", "delta", "output", "finished")
CALL_SECONDS = 600.0  # a cold start is no failure


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table that is printed at the end."""

    service: str
    call: str
    seconds: float
    said: str
    unlisted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway answered: status, and JSON or the names and data of its events."""

    status: int
    body: Any


class Live:
    """A gateway in front of one service, and what was said at its doors."""

    def __init__(
        self, service: Service, settings: Settings, url: str, recording: Recording
    ) -> None:
        self.service = service
        self.settings = settings
        self.recording = recording
        self._address = urlsplit(url)

    def post(self, body: Mapping[str, Any]) -> Answer:
        with self._sent("POST", "/v1/generate", body) as response:
            return Answer(response.status, json.loads(response.read()))

    @contextlib.contextmanager
    def stream(self, body: Mapping[str, Any]) -> Iterator[Iterator[tuple[str, Any]]]:
        """The events; leaving hangs up."""
        with self._sent("POST", "/v1/generate", {**body, "stream": True}) as response:
            assert response.status == 200, response.read()
            yield _events(response)

    def operation(self, operation_id: str) -> Any:
        """An operation that has ended."""
        end = time.monotonic() + 30
        while True:
            with self._sent("GET", f"/v1/operations/{operation_id}", None) as response:
                told = json.loads(response.read())
            if response.status == 200 and told["status"] not in ("queued", "running"):
                return told
            assert time.monotonic() < end, "the operation does not end"
            time.sleep(0.05)

    @contextlib.contextmanager
    def _sent(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=CALL_SECONDS
        )
        try:
            headers = {"content-type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def as_it_was_said(self) -> tuple[str, ...]:
        """Fails where the upstream's answers differ from what is expected; gives what is new."""
        found = differences(self.service.rows, self.recording.exchanges)
        assert not found, f"{self.service.name} differs: {found}"
        return tuple(unlisted(self.service.rows, self.recording.exchanges))


@contextlib.contextmanager
def in_front_of(service: Service, setting: Setting, data_dir: Path) -> Iterator[Live]:
    """A gateway with the models ``live`` and ``lasting``."""
    deployment = {"provider": service.name, **setting.deployment}
    lasting = {**deployment, **setting.lasting}
    block = {"kind": service.kind, **setting.block}
    tree = {
        "server": {"data_dir": data_dir},
        "retries": {"attempts_per_deployment": 1},
        "providers": {service.name: block},
        "deployments": {
            "live": deployment,
            "lasting": {name: value for name, value in lasting.items() if value is not None},
        },
        "models": {name: {"deployments": [name]} for name in ("live", "lasting")},
    }
    settings = Settings.model_validate(tree)
    recording = Recording()
    plugins = {"modal": replace(modal_plugin, build=recording.build_modal)}
    app = create_app(settings, plugins=plugins, http=recording.open, log_attempts=False)
    with running(app) as url:
        yield Live(service, settings, url, recording)


def whole(live: Live) -> Line:
    """An answer in one piece."""
    begun = time.monotonic()
    answer = live.post(_body("live", ANSWER_TOKENS))
    assert answer.status == 200, _error_of(answer)
    said = _bill(live.service, answer.body)
    assert live.recording.exchanges, "nothing was recorded"
    return _line(live, "whole", begun, said)


def streamed(live: Live) -> Line:
    """The same in pieces, and in order."""
    begun = time.monotonic()
    with live.stream(_body("live", ANSWER_TOKENS)) as events:
        seen = list(events)
    names = list(dict.fromkeys(name for name, _ in seen))
    assert set(names) <= set(ORDER) and names == sorted(names, key=ORDER.index), names
    assert names[0] == "created" and names[-1] == "finished"
    assert {"delta", "output"} & set(names), names
    said = _bill(live.service, seen[-1][1])
    return _line(live, "streamed", begun, f"{' '.join(names[1:-1])}; {said}")


def cancelled(live: Live) -> Line:
    """A caller who leaves in the middle, and the provider's own word on the job."""
    begun = time.monotonic()
    with live.stream(_body("lasting", LONG_TOKENS)) as events:
        operation_id = next(events)[1]["id"]
        first = next(name for name, _ in events if name in live.service.leaves_at)
    told = live.operation(operation_id)
    assert told["status"] == "cancelled", told["status"]
    word = "the provider has no word on it"
    if live.service.has_jobs:
        job_id = told["attempts"][0]["upstream_id"]
        assert job_id, "the provider gave no id"
        report = asyncio.run(_looked_up(live, job_id))
        assert report is not None and report.status == "cancelled", report
        word = "the provider says: cancelled"
    return _line(live, "cancelled", begun, f"left at {first}; {word}")


def refused(live: Live) -> Line:
    """A key that nobody has: the operator's fault, and it shows in no word of the answer."""
    begun = time.monotonic()
    answer = live.post(_body("live", ANSWER_TOKENS))
    assert answer.status == 502, answer.status
    assert answer.body["error"]["code"] == "provider_credentials_rejected", _error_of(answer)
    assert "nobody" not in json.dumps(answer.body)
    return _line(live, "bad key", begun, "provider_credentials_rejected")


def with_wrong_key(setting: Setting) -> Setting | None:
    """None: the server asks for no key."""
    if setting.wrong_key is None:
        return None
    return replace(
        setting,
        block={**setting.block, **setting.wrong_key.get("block", {})},
        deployment={**setting.deployment, **setting.wrong_key.get("deployment", {})},
    )


def _body(model: str, tokens: int) -> dict[str, Any]:
    return {"model": model, "input": QUESTION, "parameters": {"max_output_tokens": tokens}}


def _bill(service: Service, answer: Any) -> str:
    """Verdict, counts and cost of a good answer, in words."""
    assert answer["status"] == "succeeded"
    assert any(output["type"] == "text" and output["text"] for output in answer["output"])
    start = answer["cold_start"]
    verdict, evidence = start["verdict"], start["evidence"]
    assert verdict in service.evidence, (verdict, evidence)
    assert evidence in service.evidence[verdict], (verdict, evidence)
    usage, cost = answer["usage"], answer["cost"]
    assert usage["source"] in service.counts, usage["source"]
    assert usage["output_tokens"] > 0
    billed = {line["kind"] for line in cost["lines"]}
    nobodys = "boot_seconds" in billed and start["caused_boot"] is None
    if usage["source"] == "reported" and not nobodys:
        assert cost["status"] == "measured"
    for line in cost["lines"]:
        exact = Decimal(line["quantity"]) * Decimal(line["unit_price_usd"])
        assert abs(exact - Decimal(line["usd"])) <= Decimal("1e-12"), line
    assert Decimal(cost["total_usd"]) == sum(Decimal(line["usd"]) for line in cost["lines"])
    return f"{verdict} ({evidence}); {usage['source']}; {cost['total_usd']} USD {cost['status']}"


def _error_of(answer: Answer) -> str:
    error = answer.body.get("error", {})
    return f"{answer.status} {error.get('code')}"


def _line(live: Live, call: str, begun: float, said: str) -> Line:
    seconds = time.monotonic() - begun
    return Line(live.service.name, call, seconds, said, live.as_it_was_said())


async def _looked_up(live: Live, job_id: str) -> JobReport | None:
    registry = Registry(live.settings, open_http)
    registry.build()
    try:
        deployment = registry.targets["lasting"].deployment
        assert isinstance(deployment, Reconcilable)
        for _ in range(100):
            report = await deployment.lookup(job_id)
            if report is None or report.status != "running":
                break
            await asyncio.sleep(0.05)  # it is being stopped
        return report
    finally:
        await registry.aclose()


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    name = ""
    while line := response.readline():
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)
