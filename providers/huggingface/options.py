"""What can be configured: an account, and by which of its four ways a model is reached."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, SecretStr, model_validator

from providers.contract import DeploymentOptions, ProviderSettings

Via: TypeAlias = Literal["router", "hf-inference", "endpoint", "classic"]
Api: TypeAlias = Literal["chat", "text-generation", "feature-extraction", "text-to-image", "native"]

# Which keys mean something where; a key without a use is refused rather than ignored.
_ENDPOINT_ONLY = {"endpoint", "read_state_first", "scale_up_timeout_seconds", "health_path"}
_STATE_ONLY = {"read_state_first", "scale_up_timeout_seconds"}


def _address(value: str) -> str:
    value = value.rstrip("/")
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


def _router_address(value: str) -> str:
    return _address(value).removesuffix("/v1")  # as the documentation writes it, or without


class HuggingFaceSettings(ProviderSettings):
    """One account at Hugging Face."""

    base_url: Annotated[str, AfterValidator(_router_address)] = "https://router.huggingface.co"
    """The router, for ``via: router`` and ``via: hf-inference``."""
    management_url: Annotated[str, AfterValidator(_address)] = (
        "https://api.endpoints.huggingface.cloud/v2"
    )
    """The API that knows the state of dedicated endpoints."""
    token: SecretStr | None = None
    """An access token, ``hf_...``, with the permission to call Inference Providers; for the state
    of endpoints also the one to read (to scale: write) them. Only a public endpoint needs none."""
    bill_to: str | None = None
    """The organization that pays, for calls through the router."""


class HuggingFaceOptions(DeploymentOptions):
    """One model, by one of four ways.

    Through the router, ``model`` may end in a provider or a policy: ``org/model:novita``,
    ``org/model:cheapest``, ``org/model:fastest``. Without one, the account's own setting decides.
    """

    via: Via = "router"
    """``router`` (inference providers), ``hf-inference`` (Hugging Face's own), ``endpoint`` (a
    dedicated one, needs ``url``), ``classic`` (the old serverless API, ended in 2026)."""
    api: Api = "chat"
    """What the model does. ``native`` sends the caller's own object and gives back what comes."""
    url: Annotated[str, AfterValidator(_address)] | None = None
    """The address of the endpoint, or of a server that speaks like the classic API."""
    path: str | None = Field(default=None, pattern=r"^/")
    """Another path below the model's address, ``/generate`` or ``/embed`` say."""
    details: bool = True
    """Text generation: ask for counts of tokens. Servers other than TGI may refuse it."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Sent with every request, as keys of the body (chat) or of ``parameters``; they win."""

    endpoint: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """The endpoint's ``namespace/name``. Its state is then read, and is the evidence of verdicts;
    without it a 503 is waited out all the same, but nothing is known about cold starts."""
    read_state_first: bool = True
    """Read the state before every call: one short GET more, and only so a warm call is proved.
    Otherwise it is read after a refusal only."""
    scale_up_timeout_seconds: int | None = Field(default=None, ge=1, le=3600)
    """Let Hugging Face hold a streamed request for so long while the endpoint wakes, instead of
    refusing it until it is up. Not for unstreamed ones: their answer's head comes after the work,
    so that boot and work could not be told apart."""
    health_path: str = Field(default="/health", pattern=r"^/")
    """What is asked for to wake the endpoint without doing work."""

    @model_validator(mode="after")
    def _no_key_is_ignored(self) -> HuggingFaceOptions:
        given = self.model_fields_set
        unused: set[str] = set()
        if self.via != "endpoint":
            unused |= _ENDPOINT_ONLY
        elif self.endpoint is None:
            unused |= _STATE_ONLY
        if self.via in ("router", "hf-inference"):
            unused |= {"url"}
        if self.via == "router":
            unused |= {"path"}
        if self.api != "text-generation":
            unused |= {"details"}
        if ignored := sorted(unused & given):
            needs = " (state needs endpoint: namespace/name)" if self.via == "endpoint" else ""
            raise ValueError(f"without a use here: {', '.join(ignored)}{needs}")
        if self.via == "endpoint" and self.url is None:
            raise ValueError("via: endpoint needs the endpoint's url")
        if self.api != "chat" and self.via == "router":
            raise ValueError(f"the router only chats; api: {self.api} needs via: hf-inference")
        if self.api == "chat" and self.via == "classic":
            raise ValueError("the classic API does not chat here; api: text-generation does")
        return self
