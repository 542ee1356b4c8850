"""The section ``reconciliation`` of the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ReconciliationSettings(BaseModel):
    """Asking providers afterwards what an attempt that broke off really cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    every_seconds: float = Field(default=60.0, gt=0)
    """How often the ledger is searched for such attempts; the first time is at the start."""
    at_once: int = Field(default=4, ge=1)
    """Most questions under way at one time."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """Longest wait for one answer."""
    first_pause_seconds: float = Field(default=10.0, gt=0)
    """Shortest pause before an attempt is asked about again; it grows with the attempt's age."""
    longest_pause_seconds: float = Field(default=3600.0, gt=0)
    """Longest such pause."""
    unknown_after_seconds: float = Field(default=3600.0, ge=0)
    """A job that the provider does not know is given up when its attempt ended so long ago."""
    give_up_after_seconds: float = Field(default=172_800.0, ge=0)
    """So is a job that still runs, or a provider that cannot be asked."""
