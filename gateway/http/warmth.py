"""``GET /v1/warmth``: how warm each deployment is, and how good that knowledge is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.http.json import json_response
from gateway.http.parameters import WARMTH, only
from gateway.http.state import State, state_of
from gateway.warmth.view import warmth_json

router = APIRouter()

_AT_ONCE = 20  # deployments between which requests get their turn


@router.get("/v1/warmth", response_class=Response)
async def warmth(request: Request) -> Response:
    """State, chance to be up, keep-alive curve, boots and calibration; nothing is woken.

    ``deployment`` narrows it, and can be given more than once.
    """
    state = state_of(request)
    state.keyring.admit(request.headers, "reports")
    only(request.query_params, WARMTH)
    found = await listed(state, request.query_params.getlist("deployment"))
    return json_response({"data": found, "next_cursor": None})


async def listed(state: State, wanted: Sequence[str]) -> list[Any]:
    """The deployments of these names (none: all of them) as JSON has them."""
    clock = state.executor.clock
    at, wall_us = clock.monotonic(), clock.wall_us()
    found: list[Any] = []
    for name, target in state.registry.targets.items():
        if not wanted or name in wanted:
            found.append(warmth_json(name, target.provider, target.warmth, at, wall_us))
            if len(found) % _AT_ONCE == 0:
                await asyncio.sleep(0)
    return found
