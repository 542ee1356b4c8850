"""From the name of a page to the page, its table as CSV, or what went wrong, in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias
from urllib.parse import quote

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from gateway.http.dashboard import (
    charges,
    cold_starts,
    compare,
    cost,
    keep_warm,
    now,
    operations,
    playground,
    prices,
)
from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.render import HEADERS, base_of, html, page_of
from gateway.http.dashboard.tables import Table
from gateway.http.dashboard.view import View
from gateway.http.dashboard.visits import Visit, visit
from gateway.http.errors import HttpError, error_json, status_of
from gateway.ledger.errors import BadQuery, SchemaMismatch, StoreUnavailable

Build: TypeAlias = Callable[[Visit, Asked, Request], Awaitable[View]]

_BUILD: Mapping[str, Build] = {
    "now": now.build,
    "cost": cost.build,
    "operations": operations.build,
    "charges": charges.build,
    "operation": operations.build_one,
    "cold-starts": cold_starts.build,
    "keep-warm": keep_warm.build,
    "compare": compare.build,
    "playground": playground.build,
    "prices": prices.build,
}


async def show(request: Request, name: str) -> Response:
    """A page for whoever may see it; others are asked to log in."""
    visited = None
    asked = Asked(request.query_params)
    try:
        visited = visit(request)
        stem, dot, _ = name.partition(".csv")
        build = _BUILD.get(stem)
        of_one = stem == "operation" and "operation_id" not in request.path_params
        if build is None or of_one or stem + dot != name:
            raise HttpError(404, "route_not_found", "There is no such page.")
        view = await build(visited, asked, request)
        if dot:
            return _csv(stem, view.table)
        shown = {"asked": asked, "table": view.table, **view.shown}
        return html(request, view.template, visited, here=stem, **shown)
    except BadQuery as error:
        refusal: HttpError = HttpError(400, "invalid_value", error.message, param=error.param)
    except (StoreUnavailable, SchemaMismatch) as error:
        status, code = status_of(error)
        refusal = HttpError(status, code, error_json(error)["error"]["message"])
    except HttpError as error:
        if error.code == "not_logged_in" or (error.status == 401 and visited is None):
            return _log_in(request)
        refusal = error
    return html(request, "error.html", visited, status=refusal.status, error=refusal)


def _csv(name: str, table: Table | None) -> Response:
    if table is None:
        raise HttpError(404, "route_not_found", "This page has no table.")
    headers = {**HEADERS, "content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(table.csv(), headers=headers, media_type="text/csv; charset=utf-8")


def _log_in(request: Request) -> Response:
    """To the form, which leads back to this page."""
    below = page_of(request)
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(
        f"{base_of(request)}login?next={quote((below or 'now') + query)}", 303, HEADERS
    )
