"""How a deployment is kept warm: off until its ``keep_warm`` says how."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
PolicyName: TypeAlias = Literal["fixed", "ski_rental", "ski_randomised", "histogram", "learned"]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}") from None
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Schedule(_Strict):
    """Hours at which it is up, whatever the policy thinks."""

    days: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    """Days on which it begins."""
    begin: time
    """When it is to be ready, ``"08:00"``."""
    end: time
    """When it may go off; earlier than ``begin``: on the next day."""
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Whose hours these are."""


class KeepWarmSettings(_Strict):
    """One deployment's keep-warm policy."""

    policy: PolicyName = "histogram"
    """fixed: for ``window_seconds``; ski_rental, ski_randomised: until holding has cost what a boot
    and its wait do; histogram: by its own gaps; learned: by a table that was trained before."""
    wait_value_usd_per_second: Decimal = Field(default=Decimal("0.001"), ge=0)
    """What a second of a caller's waiting is worth."""
    monthly_budget_usd: Decimal | None = Field(default=None, ge=0)
    """The most that keeping it warm may cost in a month (UTC); unset: no bound."""
    window_seconds: float = Field(default=300.0, ge=0)
    """For ``fixed``: how long after its last work."""
    boot_seconds: float = Field(default=30.0, gt=0)
    """How long a boot takes, as far as you know."""
    table: Path | None = None
    """For ``learned``: what ``gateway simulate --save-table`` wrote."""
    schedules: tuple[Schedule, ...] = ()
    """Hours at which it is up in any case."""

    @model_validator(mode="after")
    def _has_its_table(self) -> KeepWarmSettings:
        if (self.policy == "learned") != (self.table is not None):
            raise ValueError("table: it belongs to the policy learned, which needs one")
        return self
