"""``GET /v1/warmth``: how warm each deployment is, and how good that knowledge is."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.http.json import json_response
from gateway.http.state import state_of
from gateway.warmth.view import warmth_json

router = APIRouter()


@router.get("/v1/warmth", response_class=Response)
async def warmth(request: Request) -> Response:
    """State, chance to be up, keep-alive curve, boots and calibration; nothing is woken.

    ``deployment`` narrows it, and can be given more than once.
    """
    state = state_of(request)
    state.keyring.admit(request.headers, "reports")
    wanted = request.query_params.getlist("deployment")
    clock = state.executor.clock
    at, wall_us = clock.monotonic(), clock.wall_us()
    found = [
        warmth_json(name, target.provider, target.warmth, at, wall_us)
        for name, target in state.registry.targets.items()
        if not wanted or name in wanted
    ]
    return json_response({"data": found, "next_cursor": None})
