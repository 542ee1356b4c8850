"""Health, metrics, models, the OpenAPI document and its page, and the map of errors."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import gateway.errors
from gateway.http.errors import STATUSES, error_json, error_response, status_of
from gateway.ledger.errors import LedgerUnavailable, StoreUnavailable
from gateway.telemetry import JsonFormatter
from gateway.warmth.standing import WORDS
from providers import contract
from providers.contract import Delta, Finished, ProviderError, RateLimited, Started, Usage
from providers.testing import Until, Wait
from tests.gateway_app.conftest import configuration
from tests.gateway_app.gateways import (
    Gateway,
    Scripts,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)
from tests.telemetry.promtool import needs_promtool, promtool

END = (Delta("hi"), Finished(("stop",), Usage(1000, 2000)))


def test_health_and_readiness(gateway: Gateway) -> None:
    assert gateway.get("/healthz") == {"status": "ok"}
    eventually(lambda: bool(gateway.get("/readyz")["checks"]["shipper"]), 10)  # it is a process
    ready = gateway.get("/readyz")
    assert ready["status"] == "ready"
    known = dict.fromkeys(("accepting", "journal", "shipper", "database"), True)
    assert ready["checks"] == known


def test_a_locked_database_stops_nothing_and_readiness_tells(tmp_path: Path) -> None:
    with running_gateway(configuration("http://127.0.0.1:9"), tmp_path) as gateway:
        gateway.scripts.only("plain", END)
        gateway.answer("plain")
        assert gateway.get("/v1/costs")["data"][0]["attempts"] == 1
        database = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            gateway.answer("plain")
        ready = gateway.http.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert ready.json()["checks"]["database"] is False
        assert "as_of" in gateway.http.get("/v1/costs").json()
        database.execute("ROLLBACK")
        database.close()
        assert gateway.get("/v1/costs")["data"][0]["attempts"] == 4
        assert gateway.get("/readyz")["checks"]["database"] is True


def test_the_models(gateway: Gateway) -> None:
    listed = gateway.get("/v1/models")
    ids = [model["id"] for model in listed["data"]]
    assert listed["object"] == "list" and {"plain", "both"} <= set(ids)
    assert not [i for i in ids if i.startswith("deployment:")]
    one = gateway.get("/v1/models/plain")
    assert one == next(model for model in listed["data"] if model["id"] == "plain")
    missing = gateway.http.get("/v1/models/nothing")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "model_not_found"


def test_a_deployment_by_its_own_name(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("second", END)
    answer = gateway.answer("deployment:second")
    assert (answer["model"], answer["deployment"]) == ("deployment:second", "second")


def samples(gateway: Gateway) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = gateway.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_metrics_count_attempts_and_money(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("first", END)
    which = {("provider", "scripted"), ("deployment", "first"), ("model", "deployment:first")}
    attempts = (
        "gateway_attempts_total",
        frozenset({*which, ("status", "succeeded"), ("error_type", "")}),
    )
    cost = ("gateway_cost_usd_total", frozenset({*which, ("status", "measured")}))
    before = samples(gateway)
    gateway.answer("deployment:first")

    def counted() -> bool:
        return samples(gateway).get(attempts, 0) == before.get(attempts, 0) + 1

    eventually(counted, 5.0)
    assert samples(gateway)[cost] - before.get(cost, 0) == pytest.approx(0.00019)


def test_metrics_of_what_lives(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Started(), Delta("a"), Wait(30), *END))
    running = ("gateway_deployment_running", frozenset({("deployment", "plain")}))
    eventually(lambda: samples(gateway)[running] == 0)
    with gateway.streaming("plain") as response:
        events = events_of(response)
        wait_for_event(events, "delta")
        now = samples(gateway)
        assert now[running] == 1 and now["gateway_operations_running", frozenset()] == 1
    eventually(lambda: samples(gateway)[running] == 0)


def test_metrics_of_the_record_and_of_what_stands(gateway: Gateway) -> None:
    def shipped() -> bool:
        now = samples(gateway)
        return (
            now["gateway_journal_lag_bytes", frozenset()] == 0
            and now["gateway_journal_lag_lines", frozenset()] == 0
            and now["gateway_shipper_running", frozenset()] == 1
        )

    eventually(shipped, 10)
    now = samples(gateway)
    assert now["gateway_shipper_restarts_total", frozenset()] == 0
    started = now["gateway_start_time_seconds", frozenset()]
    assert 0 <= time.time() - started < 600
    states = {
        dict(labels)["state"]: value
        for (name, labels), value in now.items()
        if name == "gateway_deployment_state" and ("deployment", "plain") in labels
    }
    assert states.keys() == set(WORDS) and sum(states.values()) == 1
    foreseen = {
        dict(labels)["deployment"]: value
        for (name, labels), value in now.items()
        if name == "gateway_deployment_warm_probability"
    }
    known = {
        dict(labels)["deployment"]
        for (name, labels), value in now.items()
        if name == "gateway_deployment_state" and value and ("state", "unknown") not in labels
    }
    assert foreseen.keys() == known and all(0 <= chance <= 1 for chance in foreseen.values())


@needs_promtool
def test_prometheus_own_checker_finds_no_fault_with_them(
    gateway: Gateway, scripts: Scripts
) -> None:
    scripts.only("plain", END)
    gateway.answer("plain")
    eventually(lambda: "gen_ai_client_token_usage_bucket{" in gateway.http.get("/metrics").text, 10)
    assert promtool("check", "metrics", given=gateway.http.get("/metrics").text) == ""


class Fault:
    """What an adapter's own mistake is like: it quotes what it stumbled over."""

    said = "tell me a secret"

    async def wait(self) -> None:
        raise RuntimeError(f"cannot parse {self.said}")


def test_the_log_of_a_fault_has_nothing_that_was_said(
    gateway: Gateway, scripts: Scripts, caplog: pytest.LogCaptureFixture
) -> None:
    fault: Any = Fault()
    scripts.only("plain", (Until(fault),))
    status, error = gateway.error("plain", input=Fault.said)
    assert status == 502 and Fault.said not in str(error)
    formatter = JsonFormatter()
    (record,) = [record for record in caplog.records if record.exc_info]
    line = formatter.format(record)
    assert "adapter of deployment plain failed" in line and "RuntimeError" in line
    assert Fault.said not in line


def test_the_openapi_document(gateway: Gateway) -> None:
    document = gateway.http.get("/openapi.json").json()
    paths = document["paths"]
    assert {"/v1/generate", "/v1/chat/completions", "/v1/costs", "/healthz"} <= set(paths)
    told = paths["/v1/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body = document["components"]["schemas"][told["$ref"].rpartition("/")[2]]
    assert body["additionalProperties"] is False
    assert {
        "model",
        "input",
        "parameters",
        "stream",
        "on_disconnect",
        "tags",
        "routing",
        "dry_run",
    } == set(body["properties"])


def test_the_page_of_the_api_needs_no_other_server(gateway: Gateway) -> None:
    page = gateway.http.get("/docs")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"https?:|//", page.text)
    addresses = set(re.findall(r"""(?:src|href)="([^"]+)""", page.text)) - {"docs/guides"}
    assert {"docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/start.js"} <= addresses
    for address in addresses:
        file = gateway.http.get(f"/{address}")
        assert file.status_code == 200 and file.content, address
        kind = {"css": "text/css", "js": "text/javascript", "png": "image/png"}
        expected = kind.get(address.rpartition(".")[2], "application/json")
        assert file.headers["content-type"].startswith(expected), address
    start = gateway.http.get("/docs/start.js").text
    assert 'url: "openapi.json"' in start and "validatorUrl: null" in start
    assert "SwaggerUIBundle" in gateway.http.get("/docs/swagger-ui-bundle.js").text


@pytest.mark.parametrize("name", ["main.py", "..%2f__init__.py", "%2e%2e", "nothing"])
def test_the_page_gives_out_its_own_files_only(gateway: Gateway, name: str) -> None:
    assert gateway.http.get(f"/docs/{name}").status_code == 404


# -- the map of errors ------------------------------------------------------------------------


def every(base: type[BaseException]) -> list[type[BaseException]]:
    found: list[type[BaseException]] = [base]
    for child in base.__subclasses__():
        if child.__module__.partition(".")[0] in ("gateway", "providers"):
            found += every(child)
    return found


OURS = [*every(ProviderError), *every(gateway.errors.GatewayError)]


@pytest.mark.parametrize("error", [*OURS, LedgerUnavailable, StoreUnavailable])
def test_every_error_has_a_status_and_a_code(error: type[BaseException]) -> None:
    assert error in STATUSES
    status, code = STATUSES[error]
    assert 400 <= status < 600 and re.fullmatch(r"[a-z_]+", code)
    told = error_json(error())["error"]
    assert told["message"] and "\n" not in told["message"]


def test_an_error_class_of_a_strangers_plugin() -> None:
    class AcmeIsBusy(RateLimited):
        """Acme is busy."""

    error = AcmeIsBusy(retry_after_seconds=2.5)
    assert status_of(error) == (429, "provider_rate_limited")
    assert error_response(error).headers["retry-after"] == "3"


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -1.0, 1e300])
def test_a_wait_that_is_no_number(seconds: float) -> None:
    error: Any = contract.RateLimited(retry_after_seconds=seconds)
    response = error_response(error)
    assert response.status_code == 429
    assert response.headers.get("retry-after", "0").isdigit()
    assert len(response.headers.get("retry-after", "")) < 10
