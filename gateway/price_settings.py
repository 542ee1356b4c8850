"""Configuration of prices: when one is old, the live sources, and a deployment's own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from providers.contract import ProviderSettings


class PriceSourceSettings(ProviderSettings):
    """A source that `gateway prices fetch` reads, reached as a provider is."""

    api_key: SecretStr | None = None
    """Credential of a source that has no provider block, lambda-cloud say."""


class PriceBookSettings(BaseModel):
    """When a price is old, and where new ones come from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stale_after_days: int = Field(default=90, ge=1)
    """A price whose source was read longer ago than this is warned of."""
    sources: dict[
        Literal["huggingface", "lambda-cloud", "modal", "runpod"], PriceSourceSettings
    ] = Field(default_factory=dict)
    """Address and credentials of live sources, where they differ from the usual ones."""


class InlinePrice(BaseModel):
    """A deployment's own price; the keys are those of a price row."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    usd_per_million_input_tokens: str | None = None
    usd_per_million_output_tokens: str | None = None
    usd_per_million_cached_input_tokens: str | None = None
    usd_per_second: str | None = None
    usd_per_image: str | None = None
    usd_per_request: str | None = None
    bills: tuple[str, ...] = ("execute",)
    """Seconds that ``usd_per_second`` is charged for: execute, boot, queue, idle, standing."""
    round_up_seconds: str | None = None
    shared: bool = False
