"""How a public model is configured: who serves it, and how requests are routed among them."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.routing import ModelRules, Strategy, WhenCold


class ModelSettings(BaseModel):
    """A public model name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    deployments: tuple[str, ...] = Field(min_length=1)
    """Deployments that serve it; where nothing tells two apart, the first named comes first."""
    strategy: Strategy = "balanced"
    """balanced: warm ones first, then the least sum of expected cost and waiting; cheapest;
    fastest; priority: in this order; weighted: at random, by ``weights``."""
    weights: dict[str, float] = Field(default_factory=dict)
    """For ``weighted``: the share of each deployment; 1 where none is given."""
    wait_value_usd_per_second: Decimal = Field(default=Decimal("0.001"), ge=0)
    """What a second of a caller's waiting is worth, for ``balanced``."""
    hedge: WhenCold = "unbilled"
    """Two deployments are booted, where all are cold and both can be booted without work, and the
    first that is up gets the request: unbilled: where no price bills a boot, for the strategies
    balanced and fastest; when_cold: always, and every boot is paid for; never."""

    @model_validator(mode="after")
    def _weighs_its_own(self) -> ModelSettings:
        if strange := sorted(self.weights.keys() - set(self.deployments)):
            raise ValueError(f"weights: {strange[0]!r} is none of its deployments")
        if any(weight < 0 for weight in self.weights.values()) or (
            self.weights and not any(self.weights.get(x, 1.0) for x in self.deployments)
        ):
            raise ValueError("weights: none is negative, and one at least is above 0")
        return self

    @property
    def rules(self) -> ModelRules:
        """The same in routing's words."""
        return ModelRules(
            self.strategy, float(self.wait_value_usd_per_second), self.hedge, self.weights
        )
