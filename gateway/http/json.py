"""JSON answers, dumped by orjson."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response


def json_response(content: Any, status: int = 200) -> Response:
    """An answer with a JSON body."""
    return Response(orjson.dumps(content), status, media_type="application/json")
