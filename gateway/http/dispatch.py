"""The two hot routes, served past FastAPI's router.

The router, its dependency solving, its telemetry and its middlewares cost 67 of the 100
microseconds that an empty FastAPI handler takes (uvloop, 10 connections). The handlers are ordinary
FastAPI routes all the same: they stand in the OpenAPI document, and without this class they serve.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import GatewayError, InternalError
from gateway.http.body import ClientGone
from gateway.http.doors import Doors
from gateway.http.errors import HttpError, error_response
from gateway.ledger.errors import LedgerUnavailable

logger = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class HotRoutes:
    """An ASGI application before another: POST to one of ``routes`` goes straight to its handler.

    ``doors`` is asked first, as it is for everything else. HEAD is GET without the body, wherever
    GET is answered: FastAPI's own routes know no HEAD.
    """

    def __init__(self, app: ASGIApp, doors: Doors, routes: Mapping[str, Handler]) -> None:
        self._app = app
        self._doors = doors
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request or pass it on."""
        handler = None
        if scope["type"] == "http":
            refusal = self._doors.refusal(scope)
            if refusal is not None:
                await error_response(refusal)(scope, receive, send)
                return
            if scope["method"] == "POST":
                handler = self._routes.get(scope["path"])
            elif scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, without_body(send)
        if handler is None:
            await self._app(scope, receive, send)
            return
        response = await answer(handler, Request(scope, receive, send))
        await response(scope, receive, send)


def without_body(send: Send) -> Send:
    """Headers as they are, and nothing after them."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head


async def answer(handler: Handler, request: Request) -> Response:
    """What a handler says, or what its failure says."""
    try:
        return await handler(request)
    except (HttpError, GatewayError, LedgerUnavailable) as error:
        return error_response(error)
    except ClientGone:
        return Response(status_code=204)  # nobody is there to read it
    except Exception:
        logger.exception("a request failed on a fault of the gateway")
        return error_response(InternalError())
