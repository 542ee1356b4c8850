"""What can be configured about Banana's protocols."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from providers.contract import DeploymentOptions, ProviderSettings
from providers.toolkit.mapping import InputRule, OutputRule, unknown_names

POTASSIUM_ONLY = {"route", "background", "status_path", "waits_when_refused"}
OUTPUT_ONLY = {"output", "output_field", "input_tokens_field", "output_tokens_field"}

Field_ = Annotated[str, Field(min_length=1)]


class BananaSettings(ProviderSettings):
    """``base_url`` is the address of deployments that name no ``url``; it has no default."""

    api_key: SecretStr | None = None
    """Sent as ``X-Banana-Api-Key`` (potassium) or inside the body (start_check)."""


class BananaOptions(DeploymentOptions):
    """One server, or one route of it. ``model`` is a model key for start_check, else only a name.

    A ``..._field`` is a path into the handler's own JSON answer, ``usage.tokens_in`` say.
    """

    api: Literal["potassium", "start_check"] = "potassium"
    """Which of the two protocols the server speaks."""
    url: str | None = Field(default=None, pattern="^https?://")
    """Address of the server, http://127.0.0.1:8000 say; null: the provider's ``base_url``."""
    route: str = Field(default="/", pattern="^/")
    """The handler's route."""
    background: bool = False
    """It is a background handler: it answers at once, and the call lasts until the server is idle.

    What it makes goes where the handler itself sends it. The time until the server is idle holds
    everything that runs there meanwhile. The deployment's deadlines must leave room for the work.
    """
    status_path: str | None = Field(default="/_k/status", pattern="^/")
    """Read before each call; null: never. (The older template: /healthcheck.)"""
    waits_when_refused: bool = False
    """The server may be starting when it refuses a connection: wait for it, as for a boot."""
    input: InputRule = "kwargs"
    """How text, messages and parameters become the handler's JSON."""
    output: OutputRule = "auto"
    """What the handler's answer is."""
    output_field: Field_ | None = None
    """Where in the answer the output stands; null: the whole answer is the output."""
    input_tokens_field: Field_ | None = None
    """Where a handler that counts tokens says how many went in."""
    output_tokens_field: Field_ | None = None
    """Where it says how many came out."""

    @field_validator("input")
    @classmethod
    def _known_names(cls, rule: InputRule) -> InputRule:
        if unknown := unknown_names(rule):
            raise ValueError(f"no such names of ours: {', '.join(unknown)}")
        return rule

    @model_validator(mode="after")
    def _no_key_is_ignored(self) -> BananaOptions:
        unused = POTASSIUM_ONLY if self.api == "start_check" else set()
        if self.background:
            unused = OUTPUT_ONLY
            if self.status_path is None:
                raise ValueError("background needs status_path: else nobody knows when it ends")
        if ignored := sorted(unused & self.model_fields_set):
            raise ValueError(f"without a use here: {', '.join(ignored)}")
        return self
