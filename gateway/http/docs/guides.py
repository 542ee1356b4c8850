"""``/docs/guides``: the README files of the packages, as this release carries them.

A guide's address is its path (``/docs/guides/gateway/ledger/README.md``), so that the links between
guides hold as they stand. A link that leaves the packages leads nowhere here and is shown as text.
``markdown-it-py`` makes the pages when they are first asked for; they take no key, like ``/docs``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from gateway.http.errors import HttpError

if TYPE_CHECKING:  # 16 ms to import: not for a gateway whose guides nobody reads
    from markdown_it.token import Token

router = APIRouter(include_in_schema=False)

FIRST = "gateway/README.md"
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
}
_HERE = Path(__file__).parent
_INSTALLED = _HERE.parents[2]
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_ROLES = {  # narrow screens show tables as blocks, which would lose what they are
    "table_open": "table",
    "thead_open": "rowgroup",
    "tbody_open": "rowgroup",
    "tr_open": "row",
    "th_open": "columnheader",
    "td_open": "cell",
}
_HEADING = re.compile(r"^# (.+)$", re.MULTILINE)


@router.get("/docs/guides")
async def index() -> Response:
    """To the guide that names the others."""
    return RedirectResponse(f"guides/{FIRST}")


@router.get("/docs/guides.css")
def style() -> Response:
    """How guides look."""
    content = (_HERE / "guides.css").read_bytes()
    return Response(content, headers=HEADERS, media_type="text/css; charset=utf-8")


@router.get("/docs/guides/{name:path}")
def guide(name: str) -> Response:
    """One guide, by its path."""
    if name not in titles():
        raise HttpError(404, "route_not_found", "There is no such guide.")
    return Response(_page(name), headers=HEADERS, media_type="text/html; charset=utf-8")


@cache
def titles() -> Mapping[str, str]:
    """Every guide of both packages, with its title: the first one, then by path."""
    found = {}
    for package in ("gateway", "providers"):
        for path in sorted((_INSTALLED / package).rglob("*.md")):
            heading = _HEADING.search(path.read_text(encoding="utf-8"))
            if heading is not None:
                found[path.relative_to(_INSTALLED).as_posix()] = heading[1].replace("`", "")
    return {FIRST: found.pop(FIRST), **found}


def anchor(heading: str) -> str:
    """What links call a heading, as the usual renderers spell it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def _page(name: str) -> bytes:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    body, headings = _rendered(name)
    here = posixpath.dirname(name)
    made = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    page = made.get_template("guide.html").render(
        title=titles()[name],
        guides=[
            (posixpath.relpath(path, here), title, path == name) for path, title in titles().items()
        ],
        root=posixpath.relpath(".", f"docs/guides/{here}"),
        headings=headings,
        body=body,
    )
    return page.encode()


def _rendered(name: str) -> tuple[str, list[tuple[str, str]]]:
    """The guide as HTML, and its sections as (anchor, title)."""
    from markdown_it import MarkdownIt

    text = _COMMENT.sub("", (_INSTALLED / name).read_text(encoding="utf-8"))
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    headings = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            title = "".join(part.content for part in inline.children or ())
            opening.attrSet("id", anchor(title))
            if opening.tag == "h2":
                headings.append((anchor(title), title))
    for token in tokens:
        if role := _ROLES.get(token.type):
            token.attrSet("role", role)
        if token.children:
            token.children = _links_that_lead_somewhere(token.children, posixpath.dirname(name))
    return markdown.renderer.render(tokens, markdown.options, {}), headings


def _links_that_lead_somewhere(inline: Sequence[Token], folder: str) -> list[Token]:
    kept, dropped = [], 0
    for token in inline:
        if token.type == "link_open":
            address, _, _ = str(token.attrGet("href")).partition("#")
            known = posixpath.normpath(posixpath.join(folder, address)) in titles()
            if address and "://" not in address and not known:
                dropped += 1
                continue
        elif token.type == "link_close" and dropped:
            dropped -= 1
            continue
        kept.append(token)
    return kept
