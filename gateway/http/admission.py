"""Between the door and the work: models that a key may ask for, and requests and tokens a minute.

Budgets come later, at each attempt: see ``gateway.limits.budgets``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.execution.operation import Order
from gateway.execution.results import KeptAnswer
from gateway.execution.run import Run
from gateway.http.doors import Caller
from gateway.http.errors import HttpError
from gateway.http.state import State
from gateway.ledger.rows import AttemptRow
from gateway.limits.rates import UNBOUNDED_OUTPUT_TOKENS, Buckets, Draw, Kind, Level, draws_for

_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that was let in; ``headers`` tell of its rate limits, if it has any."""

    headers: Mapping[str, str]
    _order: Order
    _draws: Sequence[Draw]
    _buckets: Buckets

    def follow(self, answered: Run | KeptAnswer) -> None:
        """What was taken is settled once this has ended.

        A kept answer, and a run that somebody else has begun, use no tokens of this request.
        """
        if not self._draws:
            return
        if isinstance(answered, Run) and answered.order.request is self._order.request:
            answered.task.add_done_callback(lambda _: self._settle(answered.rows))
        else:
            self._settle([])

    def _settle(self, rows: Sequence[AttemptRow]) -> None:
        """Give back what was not used, or take what was used beyond the estimate.

        An attempt without counts was refused before any work: it used nothing.
        """
        used = sum((row.input_tokens or 0) + (row.output_tokens or 0) for row in rows)
        for draw in self._draws:
            if draw.kind == "tokens":
                self._buckets.put(draw, draw.amount - used)


async def admit(state: State, caller: Caller, order: Order) -> Admission:
    """Let a request in as far as its key may. Raises HttpError (403, 429)."""
    if caller.models is not None and order.plan.model not in caller.models:
        raise HttpError(
            403, "model_not_allowed", "This key may not ask for this model.", param="model"
        )
    if not caller.rates:
        return Admission(_NOTHING, order, (), state.buckets)
    draws = draws_for(caller.rates, _tokens(order))
    taken = await state.buckets.take(draws)
    headers = _headers(taken.levels)
    if taken.wait_seconds:
        raise HttpError(
            429,
            "rate_limited",
            "This key, or all keys together, have used up what may be asked for in a minute.",
            retry_after_seconds=taken.wait_seconds,
            headers=headers,
        )
    return Admission(headers, order, draws, state.buckets)


def _tokens(order: Order) -> int:
    maximum = order.request.parameters.max_output_tokens
    known = order.plan.targets[0].estimator.estimate(order.input_bytes)
    return known + (UNBOUNDED_OUTPUT_TOKENS if maximum is None else maximum)


def _headers(levels: Sequence[Level]) -> dict[str, str]:
    """In OpenAI's words; where a key's limit and the common one hold, the one that is nearer."""
    headers = {}
    kinds: tuple[Kind, ...] = ("requests", "tokens")
    for kind in kinds:
        found = [level for level in levels if level.draw.kind == kind]
        if found:
            level = min(found, key=lambda level: level.left)
            headers[f"x-ratelimit-limit-{kind}"] = str(level.draw.per_minute)
            headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, math.floor(level.left)))
            headers[f"x-ratelimit-reset-{kind}"] = duration(level.full_in_seconds)
    return headers


def duration(seconds: float) -> str:
    """``17ms``, ``6s``, ``1m30s``: rounded up, as OpenAI spells it."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
