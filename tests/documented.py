"""Answers held against ``/openapi.json``: status, code of an error, and every field."""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any

import httpx
import orjson
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match

from gateway.app import create_app
from gateway.http.openapi.codes import ELSEWHERE
from gateway.settings import load

JSON = "application/json"


@cache
def document() -> dict[str, Any]:
    """The document, as a gateway without a configuration gives it."""
    return create_app(load(None, {})).openapi()


@cache
def _closed() -> dict[str, Any]:
    """The same, but objects have no fields that are not named: what is not told is found."""
    whole = copy.deepcopy(document())
    _close(whole["components"]["schemas"])
    return whole


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            _close(part)
    elif isinstance(schema, list):
        for part in schema:
            _close(part)


@cache
def _places() -> list[tuple[re.Pattern[str], str]]:
    def pattern(path: str) -> re.Pattern[str]:
        parts = re.split(r"{(\w+)}", path)
        kinds = ["[^/]+" if name != "model" else ".+" for name in parts[1::2]]
        texts = [re.escape(text) for text in parts[::2]]
        return re.compile("".join(a + b for a, b in zip(texts, [*kinds, ""], strict=True)))

    plain_first = sorted(document()["paths"], key=lambda path: "{" in path)
    return [(pattern(path), path) for path in plain_first]


def place_of(path: str) -> str | None:
    """The path of the document that a URL's path is one of."""
    return next((place for found, place in _places() if found.fullmatch(path)), None)


@cache
def validator(*keys: str) -> Draft202012Validator:
    """For the schema at this place of the document, with its references."""
    pointer = "/".join(key.replace("~", "~0").replace("/", "~1") for key in keys)
    schema = {"$ref": f"#/{pointer}", **_closed()}
    return Draft202012Validator(schema, format_checker=FormatChecker())


def faults(method: str, path: str, status: int, content_type: str, body: bytes) -> list[str]:
    """What of an answer is not as the document has it; of paths that it has not, nothing."""
    place = place_of(path)
    if place is None:
        return []
    told = document()["paths"][place].get(method.lower())
    if told is None:
        refused = status in (403, 405)  # at the door, or because there is no such route
        return [] if refused else [f"{method} {place} is not in the document"]
    answer = told["responses"].get(str(status))
    if answer is None:
        return [f"{method} {place} has no answer {status}"]
    if not body and "content" not in answer:
        return []
    if content_type not in answer.get("content", {}):
        return [f"{method} {place}, {status}: no {content_type} is foreseen"]
    if content_type != JSON:
        return []
    where = ("paths", place, method.lower(), "responses", str(status), "content", JSON, "schema")
    fault = best_match(validator(*where).iter_errors(orjson.loads(body)))
    if fault is None:
        return []
    return [f"{method} {place}, {status}: {fault.json_path}: {fault.message[:300]}"]


def is_documented(response: httpx.Response) -> None:
    """A hook for a client: every JSON answer is as the document says."""
    request = response.request
    content_type = response.headers.get("content-type", "")
    if request.method == "HEAD" or content_type.partition(";")[0] == "text/event-stream":
        return
    response.read()
    found = faults(
        request.method, request.url.path, response.status_code, content_type, response.content
    )
    if found and response.status_code in (404, 405):
        if orjson.loads(response.content)["error"]["code"] in ELSEWHERE:
            return
    assert not found, found
