"""``GET /v1/compare``: the requests of a model at every place that could serve them."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from gateway.comparison.ask import PARAMETERS, Ask, ask_of
from gateway.http.errors import HttpError
from gateway.http.json import json_response
from gateway.http.reports import caught_up, range_of
from gateway.http.state import State, state_of
from gateway.ledger.errors import BadQuery
from gateway.ledger.query import ReportQuery

router = APIRouter()

_RANGE = {"start_time", "end_time"}
_SINGLE = {*PARAMETERS, *_RANGE} - {"price"}
# Less than what the command line reads: a comparison takes processor time from requests.
_MOST_ROWS = 60_000


@router.get("/v1/compare", response_class=Response)
async def compare(request: Request) -> Response:
    """What the requests of a model would cost, and wait, at every candidate."""
    state = state_of(request)
    state.keyring.admit(request.headers, "reports")
    try:
        ask, query = asked(state, request.query_params)
        fresh = await caught_up(state)
        answer = await asyncio.to_thread(compared, state, ask, query)
    except BadQuery as error:
        raise HttpError(400, "invalid_value", error.message, param=error.param) from None
    if not fresh:
        answer["as_of"] = await asyncio.to_thread(state.reports().as_of)
    return json_response(answer)


def compared(state: State, ask: Ask, query: ReportQuery) -> dict[str, Any]:
    """The answer as JSON; blocks, so from a worker thread."""
    from gateway.comparison.run import answer

    return answer(
        state.settings, state.registry.prices, ask, query, state.reports(), most_rows=_MOST_ROWS
    )


def asked(state: State, params: QueryParams) -> tuple[Ask, ReportQuery]:
    """A comparison's question from its URL. Raises BadQuery naming the parameter."""
    for name in dict.fromkeys(params):
        if name in _SINGLE and len(params.getlist(name)) > 1:
            raise BadQuery(name, f"{name} is named twice.")
    given = {name: params[name] for name in PARAMETERS if name in params and name != "price"}
    if "model" not in given:
        if len(state.settings.models) != 1:
            raise BadQuery("model", "model says which one; there are several.")
        given["model"] = next(iter(state.settings.models))
    start_at_us, end_at_us = range_of(params)
    filters = {
        name: tuple(params.getlist(name))
        for name in dict.fromkeys(params)
        if name not in _SINGLE and name != "price"
    }
    query = ReportQuery(
        start_at_us=start_at_us,
        end_at_us=end_at_us,
        filters={**filters, "model": (given["model"],)},
    )
    return ask_of(given, tuple(params.getlist("price"))), query
