"""What a request may say about its routing, and what it hears of the choice."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.execution.booting import come_back_seconds
from gateway.execution.candidates import arranged, considered_json
from gateway.execution.sending import CORDONED_SECONDS
from gateway.http.errors import HttpError
from gateway.http.state import State
from gateway.registry import Target
from gateway.routing import (
    NO_BOOT,
    IfCold,
    Plan,
    Strategy,
    UnknownModel,
    Wish,
    left_out_by_name,
)

_PICO = Decimal(10) ** 12
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Names = Annotated[list[Name], Field(max_length=32, fail_fast=True)]
Usd = Annotated[str, StringConstraints(pattern=r"^\d{1,6}(\.\d{1,12})?$")]


class RoutingBody(BaseModel):
    """Where a request may go, and how it is decided."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    strategy: Strategy | None = None
    """Another strategy than the model's own."""
    only: Names = Field(default_factory=list)
    """Deployments or providers: no others are asked."""
    ignore: Names = Field(default_factory=list)
    """Deployments or providers that are not asked."""
    max_cost_usd: Usd | None = None
    """The most that it may cost, all attempts together, as text. Money is set aside as for a
    budget; deployments that are expected to cost more, or have no known price, are left out."""
    deadline_seconds: float | None = Field(default=None, gt=0, le=86_400)
    """The longest that all of it may take. A boot goes on past it, for a call that comes back."""
    allow_fallbacks: bool = True
    """Whether another deployment may do what the first could not."""
    if_cold: IfCold = "wait"
    """wait for a boot; fail: ask what is warm alone, and fail at once where nothing is; spill: go
    where it is warm first, whatever the strategy."""
    hedge: bool = False
    """Ask a second deployment where the first shows nothing for unusually long, or is cold; the
    first with output answers, the other is cancelled, and both are paid for."""

    @property
    def wish(self) -> Wish:
        """The same in routing's words."""
        most = None if self.max_cost_usd is None else int(Decimal(self.max_cost_usd) * _PICO)
        return Wish(
            self.strategy,
            frozenset(self.only),
            frozenset(self.ignore),
            most,
            self.deadline_seconds,
            self.allow_fallbacks,
            self.if_cold,
            self.hedge,
        )


NO_WISH = RoutingBody().wish


def plan_for(
    state: State,
    model: str,
    max_output_tokens: int | None,
    param: str,
    *,
    wish: Wish = NO_WISH,
    input_bytes: int = 0,
    streamed: bool = False,
    dry_run: bool = False,
) -> Plan[Target]:
    """Where a request goes, in order.

    Raises HttpError: an unknown model, more than a limit allows, a wish that nothing fits, or a
    cold model for one who does not wait.
    """
    try:
        plan, strategy = state.routes.resolve(model)
    except UnknownModel:
        raise HttpError(
            404, "model_not_found", "No model of this name is configured.", param="model"
        ) from None
    if max_output_tokens is not None:
        for target in plan.targets:
            limit = target.limits.max_output_tokens
            if limit is not None and max_output_tokens > limit:
                raise HttpError(
                    400,
                    "max_output_tokens_too_large",
                    f"This model gives at most {limit} output tokens.",
                    param=param,
                )
    if wish.hedge:
        _refuse_hedge(plan, wish, streamed=streamed)
    plan = arranged(
        plan,
        strategy,
        wish,
        state.executor.clock,
        input_bytes=input_bytes,
        max_output_tokens=max_output_tokens,
        always=dry_run,
    )
    if dry_run:
        return plan
    if not plan.targets:
        raise _nothing_fits(plan, wish)
    return plan


def _refuse_hedge(plan: Plan[Target], wish: Wish, *, streamed: bool) -> None:
    """Raises HttpError where no two deployments of the model could ever race."""
    left = [target for target in plan.targets if left_out_by_name(target, wish) is None]
    message = None
    if not wish.allow_fallbacks:
        message = "A hedge asks a second deployment, and allow_fallbacks is false."
    elif len(left) < 2:
        message = "A hedge needs two deployments, and this model has one that may be asked."
    elif sum(target.cancels(streamed=streamed) for target in left) < 2:
        message = (
            "A hedge cancels the slower of two, and of this model's deployments not two have a "
            "provider that stops work that was begun."
        )
    if message is not None:
        raise HttpError(400, "hedge_impossible", message, param="routing.hedge")


def _nothing_fits(plan: Plan[Target], wish: Wish) -> HttpError:
    reasons = "; ".join(f"{x.candidate.name}: {x.excluded}" for x in plan.considered)
    if wish.max_cost_pico_usd is not None and any(
        x.excluded is not None and "max_cost_usd" in x.excluded for x in plan.considered
    ):
        message = f"No deployment is expected to stay below max_cost_usd ({reasons})."
        return HttpError(402, "max_cost_exceeded", message, param="routing.max_cost_usd")
    cold = [x.candidate.outlook for x in plan.considered if x.excluded == NO_BOOT]
    if cold:
        seconds = come_back_seconds(min(outlook.wait_seconds for outlook in cold))
        message = "The model is cold, and the request does not wait for a boot."
        return HttpError(503, "model_cold", message, retry_after_seconds=seconds)
    if wish.only or wish.ignore:
        message = f"routing leaves no deployment of this model ({reasons})."
        return HttpError(400, "no_deployment_left", message, param="routing")
    message = "Every deployment of this model is cordoned."
    return HttpError(503, "deployments_cordoned", message, retry_after_seconds=CORDONED_SECONDS)


def choice_json(plan: Plan[Target]) -> dict[str, Any]:
    """The answer to a dry run: what would be asked, in order, and what is expected there."""
    return {
        "model": plan.model,
        "dry_run": True,
        "chosen": plan.targets[0].name if plan.targets else None,
        "order": [target.name for target in plan.targets],
        "boots": list(plan.boots),
        "candidates": [considered_json(considered) for considered in plan.considered],
    }
