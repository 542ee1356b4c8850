"""``GET /``: what stands at this address, as a page for browsers and as JSON for programs."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.http.json import json_response

router = APIRouter(include_in_schema=False)

_PLACES = {
    "dashboard": "what runs, what it costs and how cold it is",
    "docs/guides": "how to use, configure and run it",
    "docs": "every route, to be tried out",
    "openapi.json": "the same for programs",
    "v1/models": "what can be asked for",
    "healthz": "whether the process lives",
}
# Addresses are relative: they hold behind a proxy that puts the gateway under a path.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Serverless inference gateway</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/guides.css">
</head>
<body>
<main>
<h1>Serverless inference gateway</h1>
<p>Models are asked by <code>POST v1/generate</code>, or by the <code>openai</code> SDK with
<code>v1</code> of this address as its <code>base_url</code>.</p>
<ul>
{places}
</ul>
</main>
</body>
</html>
"""
_POLICY = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "vary": "Accept",
}


@router.get("/")
async def entrance(request: Request) -> Response:
    """Where to go from here; nothing of it is secret, and no key is asked for."""
    if "text/html" in request.headers.get("accept", ""):
        places = "\n".join(
            f'<li><a href="{path}">{path}</a>: {what}</li>' for path, what in _PLACES.items()
        )
        page = _PAGE.format(places=places).encode()
        return Response(page, headers=_POLICY, media_type="text/html; charset=utf-8")
    answer = json_response(
        {
            "name": "serverless-inference-gateway",
            "version": version("serverless-inference-gateway"),
            "generate": "POST /v1/generate",
            "chat_completions": "POST /v1/chat/completions",
            "models": "/v1/models",
            "dashboard": "/dashboard",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "health": "/healthz",
        }
    )
    answer.raw_headers.append((b"vary", b"Accept"))
    return answer
