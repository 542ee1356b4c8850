"""Logging in: a key goes in once, and a random id in a cookie comes out."""

from __future__ import annotations

import re

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from gateway.http.dashboard.render import HEADERS, html
from gateway.http.dashboard.sessions import LIFETIME_SECONDS
from gateway.http.dashboard.visits import COOKIE, check_csrf, form_of, visit
from gateway.http.doors import digest_of
from gateway.http.errors import HttpError
from gateway.http.state import state_of

# A page of the dashboard and its query, never another site.
_PAGE = re.compile(r"[a-z-]{1,20}(/gen_[0-9a-z]{1,40})?(\?[^\s\\]{0,2000})?")
_HOME = "../dashboard"


async def form(request: Request) -> Response:
    """The form, or the first page where there is no need to log in."""
    if not state_of(request).keyring.required:
        return _to(_HOME)
    return _form(request, "", request.query_params.get("next", ""))


async def log_in(request: Request) -> Response:
    """Check the key and begin a session."""
    state = state_of(request)
    try:
        given = await form_of(request)
        digest = digest_of(given.get("key", ""))
        state.keyring.holder(digest, "reports")
    except HttpError as error:
        return _form(request, error.message, "", error.status)
    next_page = given.get("next", "")
    response = _to(next_page if _PAGE.fullmatch(next_page) else _HOME)
    session_id = state.sessions.begin(digest, state.executor.clock.monotonic())
    # Without a path it is for this folder, whatever a proxy has put before it.
    response.set_cookie(
        COOKIE,
        session_id,
        max_age=int(LIFETIME_SECONDS),
        path=None,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


async def log_out(request: Request) -> Response:
    """End the session of the cookie."""
    try:
        visited = visit(request)
        check_csrf(visited, (await form_of(request)).get("csrf", ""))
    except HttpError as error:
        if error.status != 401:
            return html(request, "error.html", None, status=error.status, error=error)
    else:
        visited.state.sessions.end(request.cookies.get(COOKIE, ""))
    response = _to("login")
    response.set_cookie(COOKIE, "", max_age=0, path=None, httponly=True, samesite="strict")
    return response


def _form(request: Request, message: str, next_page: str, status: int = 200) -> Response:
    return html(request, "login.html", None, status=status, message=message, next_page=next_page)


def _to(where: str) -> Response:
    return RedirectResponse(where, 303, HEADERS)
