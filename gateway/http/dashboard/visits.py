"""Who looks at a page, and whether an action was really meant: cookie, scope, CSRF token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import Request

from gateway.http.body import read_body
from gateway.http.doors import Caller
from gateway.http.errors import HttpError
from gateway.http.state import State, state_of
from gateway.settings import Scope

COOKIE = "gateway_session"
CSRF_HEADER = "x-csrf-token"
_MOST_FORM_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who may see it. ``csrf`` goes into the forms of the page."""

    state: State
    caller: Caller
    csrf: str

    @property
    def logged_in(self) -> bool:
        """Whether there is something to log out of."""
        return self.state.keyring.required


def visit(request: Request, scope: Scope = "reports") -> Visit:
    """Let a request in by its cookie. Raises HttpError 401 (log in) or 403 (lacks the scope)."""
    state = state_of(request)
    session = state.sessions.keyless
    if state.keyring.required:
        now = state.executor.clock.monotonic()
        found = state.sessions.find(request.cookies.get(COOKIE, ""), now)
        if found is None:
            raise HttpError(401, "not_logged_in", "Log in with a key first.")
        session = found
    return Visit(state, state.keyring.holder(session.digest, scope), session.csrf)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, of each name the last. Raises HttpError."""
    check_own_page(request)
    raw = await read_body(request, state_of(request).settings.server)
    if len(raw) > _MOST_FORM_BYTES:
        raise HttpError(413, "body_too_large", "The form is larger than any of these pages'.")
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=16))
    except ValueError:
        raise HttpError(400, "invalid_form", "The form cannot be read.") from None


def check_own_page(request: Request) -> None:
    """Refuse what a browser says was sent by another site's page. Raises HttpError."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HttpError(403, "origin_not_allowed", "Only the dashboard's own pages may send this.")


def check_csrf(visited: Visit, token: str) -> None:
    """An action must carry the token of its session. Raises HttpError."""
    if not secrets.compare_digest(token.encode(), visited.csrf.encode()):
        raise HttpError(
            403, "csrf_token_wrong", "The page is too old to act from: load it again and repeat."
        )
