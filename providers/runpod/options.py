"""What can be configured: an account, and how one endpoint's handler is spoken to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from providers.contract import DeploymentOptions, ProviderSettings
from providers.toolkit.mapping import InputRule, OutputRule, unknown_names

HANDLER_ONLY = {
    *("input", "output", "output_field", "input_tokens_field", "output_tokens_field"),
    *("streams", "public"),
}
OWN_ONLY = {"read_workers", "idle_timeout_seconds", "warm_input"}
Path = Annotated[str, Field(min_length=1)]


def _address(value: str) -> str:
    value = value.rstrip("/")
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


class RunPodSettings(ProviderSettings):
    """One account at RunPod."""

    base_url: Annotated[str, AfterValidator(_address)] = "https://api.runpod.ai/v2"
    """Where endpoints take their jobs."""
    management_url: Annotated[str, AfterValidator(_address)] = "https://api.runpod.io/v2"
    """The REST API (v2) that lists an endpoint's workers and changes its scale."""
    api_key: SecretStr
    """Sent as a bearer token. Listing workers needs the permission to read the account's
    endpoints, keeping them warm the one to write."""
    poll_seconds: float = Field(default=1.0, gt=0)
    """Longest pause between two looks at a job; the first are shorter."""


class RunPodOptions(DeploymentOptions):
    """One queue-based endpoint. ``model`` is what ``api: openai`` asks for, else only a name.

    A ``..._field`` is a path into the handler's own JSON output: ``usage.tokens_in``, or
    ``choices.0.tokens.0``, where a number counts into a list.
    """

    endpoint: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """The endpoint's id, as in ``https://api.runpod.ai/v2/<id>/run``."""
    api: Literal["handler", "openai"] = "handler"
    """``handler``: yours, with input of its own. ``openai``: a vLLM worker, which is asked for
    OpenAI's chat completions, through the queue."""
    streams: bool = False
    """The handler is a generator: its pieces are read as they come. Of ``openai``: always true."""
    input: InputRule = "kwargs"
    """How text, messages and parameters become the handler's input."""
    output: OutputRule = "auto"
    """What the handler gives back, or each piece that it yields."""
    output_field: Path | None = None
    """Where in that the output stands; null: all of it is the output."""
    input_tokens_field: Path | None = None
    """Where a handler that counts tokens says how many went in. Of pieces, the last one that says
    it holds."""
    output_tokens_field: Path | None = None
    """Where it says how many came out, likewise."""
    public: bool = False
    """One of RunPod's public endpoints, whose output says what it cost. Its workers are RunPod's:
    they cannot be listed or scaled, so that only a short wait proves anything."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """``openai``: sent with every request; wins over the caller's."""
    read_workers: bool = True
    """Ask which workers are up while a job waits, and after a long wait when its worker started.

    Without it, or where the key may not, only a short wait proves anything.
    """
    warm_below_seconds: float = Field(default=1.0, ge=0)
    """A job that was picked up sooner than this did not wait for a boot. A worker that FlashBoot
    revives may be as quick, and its job counts as warm."""
    idle_timeout_seconds: float = Field(default=5.0, ge=0)
    """How long the endpoint keeps an idle worker (its setting at RunPod, which bills that time)."""
    warm_input: dict[str, Any] | None = None
    """Input that the handler answers at once, for booting without work; null: cannot be asked to.
    The endpoint's scale does not need it."""

    @field_validator("input")
    @classmethod
    def _known_names(cls, rule: InputRule) -> InputRule:
        if unknown := unknown_names(rule):
            raise ValueError(f"no such names of ours: {', '.join(unknown)}")
        return rule

    @model_validator(mode="after")
    def _no_key_is_ignored(self) -> RunPodOptions:
        given = self.model_fields_set
        unused = HANDLER_ONLY if self.api == "openai" else {"extra_body"}
        if ignored := sorted(unused & given):
            raise ValueError(f"without a use with api: {self.api}: {', '.join(ignored)}")
        if self.public and (ignored := sorted(OWN_ONLY & given)):
            raise ValueError(f"without a use at a public endpoint: {', '.join(ignored)}")
        return self
