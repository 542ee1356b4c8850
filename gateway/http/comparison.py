"""``GET /v1/compare``: the requests of a model at every place that could serve them."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from gateway.comparison.ask import CARD, FIGURES, OWN_GPU, PARAMETERS, Ask, ask_of
from gateway.comparison.ask import Parameter as Known
from gateway.http.errors import HttpError
from gateway.http.json import json_response
from gateway.http.parameters import RANGE, TEXT, Parameter, once
from gateway.http.reports import caught_up, filters_of, range_of
from gateway.http.state import State, state_of
from gateway.ledger.errors import BadQuery
from gateway.ledger.reports.query import ReportQuery

router = APIRouter()

# Less than what the command line reads: a comparison takes processor time from requests.
_MOST_ROWS = 60_000


@cache
def parameters() -> tuple[Parameter, ...]:
    """What the route takes besides filters. Reads the tables of cards and models."""
    figures = {"own_gpu": CARD} | dict(OWN_GPU) | dict(FIGURES)
    return (
        *RANGE,
        Parameter("model", "Whose requests; may be left out where there is one.", TEXT),
        Parameter("price", "A further price row to hold beside.", TEXT, repeats=True),
        *(
            Parameter(name, known.meaning, {**known.figure.schema, **_default(known)})
            for name, known in figures.items()
        ),
    )


def _default(known: Known) -> dict[str, Any]:
    return {} if known.default is None else {"default": float(known.default)}


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
    once(params, parameters())
    given = {name: params[name] for name in PARAMETERS if name in params and name != "price"}
    if "model" not in given:
        if len(state.settings.models) != 1:
            raise BadQuery("model", "model says which one; there are several.")
        given["model"] = next(iter(state.settings.models))
    start_at_us, end_at_us = range_of(params)
    filters = filters_of(params, {known.name for known in parameters()})
    query = ReportQuery(
        start_at_us=start_at_us,
        end_at_us=end_at_us,
        filters={**filters, "model": (given["model"],)},
    )
    return ask_of(given, tuple(params.getlist("price"))), query
