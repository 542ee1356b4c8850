"""The routes of the dashboard. A page's module is imported when the first page is asked for."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.http.errors import HttpError

router = APIRouter(prefix="/dashboard", include_in_schema=False)

_CSS, _JS = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
_STATIC = {
    "dashboard.css": ("static/dashboard.css", _CSS),
    "charts.js": ("static/charts.js", _JS),
    "now.js": ("static/now.js", _JS),
    "playground.js": ("static/playground.js", _JS),
    "icon.svg": ("static/icon.svg", "image/svg+xml"),
    "uplot.js": ("vendor/uplot/uPlot.iife.min.js", _JS),
    "uplot.css": ("vendor/uplot/uPlot.min.css", _CSS),
}


@router.get("")
async def now(request: Request) -> Response:
    """What runs at this moment."""
    return await _page(request, "now")


@router.get("/login")
async def login_form(request: Request) -> Response:
    """Where a key is asked for."""
    from gateway.http.dashboard import login

    return await login.form(request)


@router.post("/login")
async def login(request: Request) -> Response:
    """A key of the scope ``reports`` becomes a cookie."""
    from gateway.http.dashboard import login

    return await login.log_in(request)


@router.post("/logout")
async def logout(request: Request) -> Response:
    """The cookie and what it stood for are gone."""
    from gateway.http.dashboard import login

    return await login.log_out(request)


@router.get("/static/{name}")
def static(name: str) -> Response:
    """One of the pages' own files."""
    if name not in _STATIC:
        raise HttpError(404, "route_not_found", "There is no such route.")
    path, media_type = _STATIC[name]
    content = (resources.files("gateway.http.dashboard") / path).read_bytes()
    headers = {"cache-control": "public, max-age=300", "x-content-type-options": "nosniff"}
    return Response(content, headers=headers, media_type=media_type)


@router.post("/deployments/{name}/{action}")
async def act(request: Request, name: str, action: str) -> Response:
    """Warm, cordon or uncordon a deployment."""
    from gateway.http.dashboard import actions

    return await actions.act(request, name, action)


@router.post("/playground/run")
async def run(request: Request) -> Response:
    """As ``POST /v1/generate``, for whoever is logged in."""
    from gateway.http.dashboard import actions

    return await actions.run(request)


@router.get("/playground/{operation_id}")
async def running(request: Request, operation_id: str) -> Response:
    """What an operation of the playground has cost so far, as JSON."""
    from gateway.http.dashboard import actions

    return await actions.running(request, operation_id)


@router.get("/operations/{operation_id}")
async def operation(request: Request, operation_id: str) -> Response:
    """One operation, or with ``.csv`` one of its tables: where its seconds and dollars went."""
    stem, dot, more = operation_id.partition(".csv")
    request.path_params["operation_id"] = stem + more
    return await _page(request, "operation" + dot)


@router.get("/{name}")
async def page(request: Request, name: str) -> Response:
    """A page, or with ``.csv`` behind its name the figures of its first table."""
    return await _page(request, name)


async def _page(request: Request, name: str) -> Response:
    from gateway.http.dashboard.pages import show

    return await show(request, name)
