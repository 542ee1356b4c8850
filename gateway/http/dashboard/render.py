"""Templates to pages: everything is escaped, and the browser is told to trust this server only."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from gateway.http.dashboard import figures
from gateway.http.dashboard.visits import Visit

HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
PAGES = (
    ("now", "Now"),
    ("cost", "Cost"),
    ("operations", "Operations"),
    ("charges", "Charges"),
    ("cold-starts", "Cold starts"),
    ("keep-warm", "Keep warm"),
    ("compare", "Compare"),
    ("playground", "Playground"),
)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "usd": figures.usd,
        "seconds": figures.seconds,
        "when": figures.when,
        "percent": figures.percent,
        "said": figures.said,
    }
    return made


def html(
    request: Request,
    template: str,
    visited: Visit | None,
    *,
    status: int = 200,
    here: str = "",
    **shown: Any,
) -> Response:
    """A page by its template; ``visited`` None: nobody is logged in."""
    text = (
        _environment()
        .get_template(template)
        .render(base=base_of(request), pages=PAGES, visit=visited, here=here, **shown)
    )
    return Response(text, status, HEADERS, "text/html; charset=utf-8")


def base_of(request: Request) -> str:
    """From this page to ``/dashboard/``, relative: it holds behind a proxy's path too."""
    below = page_of(request)
    return "../" * below.count("/") or "./" if below else "dashboard/"


def page_of(request: Request) -> str:
    """What the path has behind ``/dashboard/``."""
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return path.partition("/dashboard")[2].strip("/")
