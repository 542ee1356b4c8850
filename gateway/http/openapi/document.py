"""The document itself, from the routes that the application has."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.routing import BaseRoute

from gateway.http.openapi import codes, examples
from gateway.http.openapi.operations import Error
from gateway.http.openapi.routes import ROUTES, TAGS, Answer, Route
from gateway.http.parameters import FILTERS, Parameter
from gateway.http.parameters import TAGS as TAG_FILTER
from gateway.http.system import METRICS_TYPE

_REFS = "#/components/schemas/{model}"
_MODE: JsonSchemaMode = "validation"  # a field with a default may be absent
_PATH = {
    "operation_id": "`gen_` and 22 hex digits.",
    "name": "As it is configured, or was made.",
    "model": "A public model's name; it may have slashes.",
    "provider": "The provider, by its configured name.",
}
_UNITS = (
    (re.compile(r"(^|_)usd(_|$)"), "US dollars", "In US dollars, as decimal text."),
    (re.compile(r"_seconds$"), "econds", "In seconds."),
    (re.compile(r"_tokens$"), "okens", "In tokens."),
    (re.compile(r"_(at|time|until)$"), "UTC", "RFC 3339, UTC."),
)
_ABOUT = """One door to serverless inference: models at any provider, with what each call cost and
how cold it was.

* `null` is "not known", and never 0. Money is text, exact; seconds are numbers; times are UTC.
* Lists answer `data` and `next_cursor`; ask again with `cursor` until it is null.
* Errors have one shape, `Error`; programs go by its `code`.
* `HEAD` is answered wherever `GET` is. What is no route is 404 `route_not_found`, a wrong method
  405 `method_not_allowed`; what else the web framework refuses is `refused`.
"""
_BEARER = """An API key with one of the scopes that a route names (`admin` opens all).

Where keys are off (`auth.mode: none`, this machine only) none is asked for."""
_SCHEME = "bearer"


def document(
    routes: Iterable[BaseRoute], *, title: str, version: str, keys_needed: bool
) -> dict[str, Any]:
    """The API as OpenAPI 3.1. ``keys_needed``: whether calls without a key are refused.

    Raises KeyError: a route that nothing is said of in ``ROUTES``.
    """
    served = [route for route in _served(routes) if route.include_in_schema]
    paths: dict[str, dict[str, Any]] = {}
    for route in served:
        for method in sorted(route.methods or ()):
            place = (method.lower(), re.sub(r":\w+}", "}", route.path))
            told = _operation(route, ROUTES[place], keys_needed=keys_needed)
            paths.setdefault(place[1], {})[place[0]] = told
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": what} for name, what in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                _SCHEME: {"type": "http", "scheme": "bearer", "description": _BEARER}
            },
        },
    }


def _served(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    for found in iter_route_contexts(list(routes)):
        if isinstance(found.original_route, APIRoute):
            yield found.original_route


def _operation(route: APIRoute, told: Route, *, keys_needed: bool) -> dict[str, Any]:
    summary, _, description = inspect.cleandoc(route.endpoint.__doc__ or "").partition("\n\n")
    operation: dict[str, Any] = {
        "tags": [told.tag],
        "summary": " ".join(summary.replace("``", "").split()).removesuffix("."),
        "operationId": route.endpoint.__name__,
    }
    if description:
        operation["description"] = description
    parameters = [*_in_path(route), *_in_headers(told), *_in_query(told)]
    if parameters:
        operation["parameters"] = parameters
    if told.body is not None:
        content = {"schema": _ref(told.body), "example": told.body_example}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    operation["responses"] = _responses(told)
    keys: list[dict[str, list[str]]] = [{_SCHEME: [scope]} for scope in told.scopes]
    operation["security"] = keys if keys_needed else [{}, *keys] if keys else []
    return operation


def _in_path(route: APIRoute) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)", route.path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH[name],
            "schema": {"type": "string"},
        }


def _in_headers(told: Route) -> Iterator[dict[str, Any]]:
    for name, (meaning, schema) in told.headers.items():
        yield {"name": name, "in": "header", "description": meaning, "schema": dict(schema)}


def _in_query(told: Route) -> Iterator[dict[str, Any]]:
    takes = told.takes()
    names = {known.name for known in takes}
    filters = [known for known in FILTERS if known.name not in names] if told.filters else []
    for known in (*takes, *filters):
        yield _in_url(known)
    if told.filters:
        yield {**_in_url(TAG_FILTER), "style": "form", "explode": True}


def _in_url(known: Parameter) -> dict[str, Any]:
    schema = dict(known.schema)
    if known.repeats:
        schema = {"type": "array", "items": schema}
    meaning = f"{known.meaning} Repeatable." if known.repeats else known.meaning
    return {"name": known.name, "in": "query", "description": meaning, "schema": schema}


def _responses(told: Route) -> dict[str, Any]:
    found = {str(status): _answer(answer) for status, answer in told.answers.items()}
    groups = (*told.errors, *([codes.KEY] if told.scopes else []), codes.DOOR)
    for status, said in codes.by_status(groups).items():
        if str(status) in found:  # an answer of its own has this status
            continue
        found[str(status)] = _error(status, said)
    return found


def _answer(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"description": answer.what}
    if answer.headers:
        found["headers"] = {
            name: {"description": what, "schema": {"type": "string"}}
            for name, what in answer.headers.items()
        }
    content: dict[str, Any] = {}
    if answer.shapes:
        shapes = [_ref(shape) for shape in answer.shapes]
        body: dict[str, Any] = {"schema": shapes[0] if len(shapes) == 1 else {"anyOf": shapes}}
        if answer.example is not None:
            body["example"] = answer.example
        content["application/json"] = body
    if answer.events is not None:
        content["text/event-stream"] = {"schema": {"type": "string"}, "example": answer.events}
    if answer.text is not None:
        content[METRICS_TYPE] = {"schema": {"type": "string"}, "example": answer.text}
    if content:
        found["content"] = content
    return found


def _error(status: int, said: Mapping[str, str]) -> dict[str, Any]:
    """One status, with the codes that it can have here."""
    coded = {"properties": {"error": {"properties": {"code": {"enum": list(said)}}}}}
    found: dict[str, Any] = {
        "description": "\n".join(f"* `{code}`: {meaning}" for code, meaning in said.items()),
        "content": {"application/json": {"schema": {"allOf": [_ref(Error), coded]}}},
    }
    if status in (429, 503):
        found["headers"] = {
            "retry-after": {
                "description": "Seconds until it is worth coming back, where anybody knows.",
                "schema": {"type": "string"},
            }
        }
    if "model_not_found" in said:
        found["content"]["application/json"]["example"] = examples.ERROR
    return found


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFS.format(model=model.__name__)}


def _schemas() -> dict[str, Any]:
    models: set[type[BaseModel]] = {
        shape
        for told in ROUTES.values()
        for shape in (
            *(shape for answer in told.answers.values() for shape in answer.shapes),
            *([told.body] if told.body is not None else []),
        )
    }
    models.add(Error)
    wanted = sorted(models, key=lambda model: model.__name__)
    _, made = models_json_schema([(model, _MODE) for model in wanted], ref_template=_REFS)
    schemas: dict[str, Any] = made["$defs"]
    for schema in schemas.values():
        schema.pop("title", None)
        for name, told in schema.get("properties", {}).items():
            told.pop("title", None)
            if "$ref" in told and "description" not in told:
                told["description"] = schemas[told["$ref"].rpartition("/")[2]]["description"]
            _say_unit(name, told)
    return dict(sorted(schemas.items()))


def _say_unit(name: str, told: dict[str, Any]) -> None:
    """The unit that a name promises, where the description does not say it."""
    for ends, said, sentence in _UNITS:
        description = told.get("description", "")
        if ends.search(name) and said not in description and "$ref" not in told:
            told["description"] = f"{description} {sentence}".strip()
