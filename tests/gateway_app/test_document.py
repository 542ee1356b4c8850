"""``/openapi.json``: a sound document, whole, and true of a gateway that runs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.http.errors import STATUSES
from gateway.http.openapi import codes, examples
from gateway.http.openapi.routes import ROUTES, TAGS
from providers.contract import Booting, Delta, Finished, Started, UpstreamFailed, Usage
from tests.documented import document, faults, place_of, validator
from tests.gateway_app.conftest import KEYS
from tests.gateway_app.gateways import Gateway, Scripts

ROOT = Path(__file__).parents[2]
END = (Delta("hi"), Finished(("stop",), Usage(1000, 2000)))


def every() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, told in methods.items():
            yield method, path, told


# -- sound and whole ----------------------------------------------------------------------------


def test_it_is_sound() -> None:
    validate(document())


def test_what_is_served_is_this_document(gateway: Gateway, locked: Gateway) -> None:
    assert gateway.http.get("/openapi.json").json() == document()
    told = locked.http.get("/openapi.json").json()
    assert told["paths"]["/v1/costs"]["get"]["security"] == [
        {"bearer": ["generate"]},
        {"bearer": ["reports"]},
    ]
    costs = document()["paths"]["/v1/costs"]["get"]
    assert costs["security"][0] == {}  # without keys none is asked for


def test_no_route_is_told_of_that_is_not_there() -> None:
    assert {(method, path) for method, path, _ in every()} == set(ROUTES)
    assert {told["tags"][0] for _, _, told in every()} == set(TAGS)
    names = [told["operationId"] for _, _, told in every()]
    assert len(set(names)) == len(names)


def test_everything_is_said_in_words() -> None:
    silent = []
    for method, path, told in every():
        parts = [*told.get("parameters", ()), *told["responses"].values()]
        silent += [f"{method} {path}" for part in parts if not part["description"]]
        assert told["summary"], path
    for name, schema in document()["components"]["schemas"].items():
        assert schema["description"], name
        silent += [
            f"{name}.{field}"
            for field, told in schema.get("properties", {}).items()
            if not told.get("description")
        ]
    assert not silent


@pytest.mark.parametrize(
    ("ends", "unit"), [("_usd", "dollars"), ("_seconds", "seconds"), ("_at", "UTC")]
)
def test_figures_have_their_units(ends: str, unit: str) -> None:
    there = 0
    for name, schema in document()["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            if field.endswith(ends) and "$ref" not in told:
                there += 1
                assert unit in told["description"].lower() or unit in told["description"], (
                    f"{name}.{field}"
                )
    assert there > 5


def test_examples_are_true_to_their_schemas() -> None:
    shown = 0
    for method, path, told in every():
        if "requestBody" in told:
            where = ("paths", path, method, "requestBody", "content", "application/json")
            example = told["requestBody"]["content"]["application/json"]["example"]
            validator(*where, "schema").validate(example)
            shown += 1
        for status, answer in told["responses"].items():
            body = answer.get("content", {}).get("application/json", {})
            if "example" in body:
                raw = json.dumps(body["example"]).encode()
                assert not faults(method, path, int(status), "application/json", raw)
                shown += 1
    assert shown >= 9
    for line in (examples.EVENTS + examples.CHUNKS).splitlines():
        if line.startswith("data: {"):
            json.loads(line.removeprefix("data: "))


def test_every_code_is_in_a_document_with_its_status() -> None:
    groups = [group for told in ROUTES.values() for group in told.errors]
    groups += [codes.DOOR, codes.KEY, codes.ELSEWHERE]
    known = {(status, code) for group in groups for code, (status, _) in group.items()}
    assert set(STATUSES.values()) <= known
    of_the_dashboard = {"not_logged_in", "csrf_token_wrong", "invalid_form"}
    for path in sorted((ROOT / "gateway/http").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HttpError"):
                continue
            status, code = node.args[:2]
            if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                said = (status.value, code.value)
                assert said in known or code.value in of_the_dashboard, f"{path.name}: {said}"


# -- true ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lived(gateway: Gateway) -> Gateway:
    """One that has answered, failed, booted, and asked what it does not know the price of."""
    scripts: Scripts = gateway.scripts
    scripts.only("seconds", (Booting("process_started", True), Started("i"), *END))
    gateway.answer("seconds", tags={"team": "search"})
    scripts.only("unpriced", END)
    gateway.answer("unpriced")
    scripts.only("first", (UpstreamFailed(),), (UpstreamFailed(),))
    scripts.only("second", END)
    gateway.answer("both")
    gateway.get("/v1/operations")
    return gateway


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/models", {}),
    ("/v1/models/plain", {}),
    ("/v1/operations", {"limit": 3, "deployment": ["seconds", "second"]}),
    ("/v1/operations", {"tag:team": "search"}),
    ("/v1/operations", {"cost_status": "measured", "line": "execute_seconds", "status": "ended"}),
    ("/v1/charges", {}),
    ("/v1/charges", {"kind": "idle", "deployment": "seconds"}),
    ("/v1/costs", {}),
    (
        "/v1/costs",
        {"group_by": ["deployment", "tag:team"], "bucket_width": "1h", "time_zone": "Asia/Kolkata"},
    ),
    ("/v1/costs", {"group_by": ["provider", "model", "key", "verdict", "status"], "limit": 1}),
    ("/v1/cold-starts", {"group_by": "deployment", "by": ["hour", "idle_gap"]}),
    ("/v1/cold-starts", {"against": "7d", "status": "succeeded"}),
    ("/v1/compare", {"model": "seconds", "price": "modal-h100"}),
    (
        "/v1/compare",
        {
            "model": "plain",
            "requests_per_day": "2000",
            "input_tokens": "600",
            "output_tokens": "200",
            "own_gpu": "h100",
            "capex_usd": "30000",
            "max_wait_p95_seconds": "5",
            "shape": "llama-3-8b",
            "deployment": "plain",
        },
    ),
    ("/v1/warmth", {"deployment": "seconds"}),
    ("/v1/budgets", {}),
    ("/v1/deployments", {}),
    ("/v1/keys", {}),
    ("/healthz", {}),
    ("/readyz", {}),
    ("/metrics", {}),
]


@pytest.mark.parametrize(("path", "asked"), ASKED, ids=lambda value: str(value)[:40])
def test_reports_are_what_their_schemas_say(
    lived: Gateway, path: str, asked: dict[str, Any]
) -> None:
    response = lived.http.get(path, params=asked)  # its client holds each answer against it
    assert response.status_code == 200, response.text
    assert place_of(path) is not None


def test_no_report_is_left_out() -> None:
    asked = {path for path, _ in ASKED}
    for method, path, _ in every():
        if method == "get" and "{" not in path:
            assert path in asked, path


def test_every_parameter_of_the_document_is_taken(lived: Gateway) -> None:
    """And a value that its schema does not allow gives the error that is foreseen."""
    for path in sorted({path for path, _ in ASKED if path.startswith("/v1/")}):
        told = document()["paths"].get(path)
        for known in told["get"].get("parameters", ()) if told else ():
            schema, name = known["schema"], known["name"]
            many = schema["items"] if schema.get("type") == "array" else schema
            for good in good_values(many):
                asked = good if isinstance(good, dict) else {name: good, **needed(name)}
                model = {"model": "plain"} if path == "/v1/compare" and name != "model" else {}
                response = lived.http.get(path, params={**model, **asked})
                unknown_name = name in ("cursor", "price", "model")
                assert response.status_code == 200 or unknown_name, (path, asked, response.text)
            for bad in bad_values(many):
                model = {"model": "plain"} if path == "/v1/compare" else {}
                response = lived.http.get(path, params={**model, name: bad})
                assert response.status_code == 400, (path, name, bad)
                error = response.json()["error"]
                assert error["code"] == "invalid_value" and error["param"], (path, name, bad)
                assert "Traceback" not in response.text


def needed(name: str) -> dict[str, Any]:
    """What a parameter of ``compare`` does not stand without."""
    if name in ("own_gpu", "life_years", "watts", "usd_per_kwh", "pue", "ops_usd_month"):
        return {"own_gpu": "h100", "capex_usd": 1} if name != "own_gpu" else {"capex_usd": 1}
    if name == "capex_usd":
        return {"own_gpu": "h100"}
    if name == "requests_per_day":
        return {"input_tokens": 1, "output_tokens": 1}
    return {}


def good_values(schema: dict[str, Any]) -> list[Any]:
    if "anyOf" in schema:
        return [value for part in schema["anyOf"] for value in good_values(part)]
    if "enum" in schema:
        return list(schema["enum"])
    if "default" in schema or "examples" in schema:
        return [
            *schema.get("examples", [])[:2],
            *([schema["default"]] if "default" in schema else []),
        ]
    if "minimum" in schema:
        return [schema["minimum"] or 1]
    return ["plain"] if "pattern" not in schema else ["tag:team"]


def bad_values(schema: dict[str, Any]) -> list[Any]:
    if "anyOf" in schema or "enum" in schema:
        return ["colour", ""]
    if schema.get("format") == "date-time":
        return ["yesterday", "2026-13-01T00:00:00Z", ""]
    if schema.get("type") in ("integer", "number"):
        return ["many", "nan", "-1", *([schema["minimum"] - 1] if "minimum" in schema else [])]
    pattern = schema.get("pattern")
    return [] if pattern is None else [x for x in ("7 days", "%") if not re.search(pattern, x)]


@pytest.mark.parametrize(
    ("path", "asked", "param"),
    [
        ("/v1/costs", {"colour": "red"}, "colour"),
        ("/v1/costs", {"limit": [1, 2]}, "limit"),
        ("/v1/operations", {"group_by": "model"}, "group_by"),
        ("/v1/costs", {"by": "hour"}, "by"),
        ("/v1/costs", {"start_time": "2026-11-02", "end_time": "2026-11-01"}, "end_time"),
        ("/v1/costs", {"cursor": "x"}, "cursor"),
        ("/v1/cold-starts", {"against": "7x"}, "against"),
        ("/v1/compare", {"model": "plain", "group_by": "model"}, "group_by"),
        ("/v1/warmth", {"provider": "scripted"}, "provider"),
        ("/v1/budgets", {"limit": "1"}, "limit"),
        ("/v1/deployments", {"name": "plain"}, "name"),
        ("/v1/keys", {"name": "app"}, "name"),
    ],
)
def test_what_is_not_a_parameter_is_refused_by_name(
    gateway: Gateway, path: str, asked: dict[str, Any], param: str
) -> None:
    response = gateway.http.get(path, params=asked)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param, response.text


def test_scopes_are_those_that_open_it(locked: Gateway) -> None:
    names = {"operation_id": "gen_0", "name": "nobody", "model": "plain", "provider": "upstream"}
    for method, path, told in every():
        url = path
        for name, value in names.items():
            url = url.replace(f"{{{name}}}", value)
        security = [entry["bearer"][0] for entry in told["security"] if entry]
        answer = locked.http.request(method, url)
        assert (answer.status_code == 401) == bool(security), (method, path)
        for key, scopes in KEYS.values():
            if not security:
                continue
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            answer = locked.http.request(method, url, headers=headers)
            opens = "admin" in scopes or bool({*scopes} & {*security})
            lacks = answer.status_code == 403 and "missing_scope" in answer.text
            assert lacks != opens, (method, path, scopes, answer.text)
