"""``GET /v1/budgets``: what each budget is at."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.http.json import json_response
from gateway.http.parameters import only
from gateway.http.state import state_of

router = APIRouter()


@router.get("/v1/budgets", response_class=Response)
async def budgets(request: Request) -> Response:
    """Limit, spent, reserved and left of each budget in its present window.

    Null is "not known yet": for a moment after a start.
    """
    state = state_of(request)
    state.keyring.admit(request.headers, "reports")
    only(request.query_params)
    return json_response({"data": await state.budgets.report(), "next_cursor": None})
