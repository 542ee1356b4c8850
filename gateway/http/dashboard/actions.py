"""What can be done from a page: the three actions on a deployment, and a call."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from gateway.http.dashboard.render import HEADERS, html
from gateway.http.dashboard.visits import CSRF_HEADER, check_csrf, check_own_page, form_of, visit
from gateway.http.deployments import begin_warming, target_of
from gateway.http.errors import HttpError
from gateway.http.generate import generate_for
from gateway.http.json import json_response
from gateway.http.reports import find_operation


async def act(request: Request, name: str, action: str) -> Response:
    """Warm, cordon or uncordon, then back to the page."""
    visited = None
    try:
        visited = visit(request)
        check_csrf(visited, (await form_of(request)).get("csrf", ""))
        state = visit(request, "admin").state
        target = target_of(state, name)
        if action == "warm":
            begin_warming(state, target)
        elif action in ("cordon", "uncordon"):
            target.cordoned = action == "cordon"
        else:
            raise HttpError(404, "route_not_found", "There is no such route.")
    except HttpError as error:
        return html(request, "error.html", visited, status=error.status, error=error)
    return RedirectResponse("../../../dashboard", 303, HEADERS)


async def running(request: Request, operation_id: str) -> Response:
    """How one stands that was begun here: as ``GET /v1/operations/{id}``, which takes no cookie."""
    visited = visit(request)
    return json_response(await find_operation(visited.state, visited.caller, operation_id))


async def run(request: Request) -> Response:
    """One call, streamed to the page; it is booked on the key that logged in."""
    check_own_page(request)
    visited = visit(request)
    check_csrf(visited, request.headers.get(CSRF_HEADER, ""))
    visited = visit(request, "generate")
    return await generate_for(visited.state, request, visited.caller)
