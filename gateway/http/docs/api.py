"""The OpenAPI document as a page that asks no other server for anything.

The files are Swagger UI's, as the package ``fastapi-swagger`` carries them; FastAPI's own page
would load them from a content network. The policy in the header makes the browser hold to it.
"""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from gateway.http.errors import HttpError
from gateway.http.json import json_response

router = APIRouter(include_in_schema=False)

# Addresses are relative: they hold behind a proxy that puts the gateway under a path.
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Serverless inference gateway: API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<p><a href="docs/guides">Guides</a></p>
<div id="swagger-ui"></div>
<noscript>This needs JavaScript; the document itself: <a href="openapi.json">here</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# validatorUrl: unless it is null, Swagger UI shows the document to a validator in the internet.
_START = b"""SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null
});
"""
_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_POLICY = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


@router.get("/openapi.json")
def description(request: Request) -> Response:
    """The document itself, made when it is asked for the first time; in a thread, for that."""
    app: FastAPI = request.app
    return json_response(app.openapi())


@router.get("/docs")
async def page() -> Response:
    """The page."""
    return Response(_PAGE, headers=_POLICY, media_type="text/html; charset=utf-8")


@router.get("/docs/start.js")
async def start() -> Response:
    """The call that shows the document."""
    return Response(_START, headers=_POLICY, media_type="text/javascript; charset=utf-8")


@router.get("/docs/{name}")
def file(name: str) -> Response:
    """One of Swagger UI's files."""
    media_type = _FILES.get(name)
    if media_type is None:
        raise HttpError(404, "route_not_found", "There is no such route.")
    content = (resources.files("fastapi_swagger") / "resources" / name).read_bytes()
    headers = {**_POLICY, "cache-control": "public, max-age=3600"}
    return Response(content, headers=headers, media_type=media_type)
