"""Any server that speaks OpenAI's chat completions: ``kind: openai_chat``, no code.

API:      POST {base_url}/chat/completions, JSON and server-sent events.
Sources:  https://platform.openai.com/docs/api-reference/chat and the pages in ``openai_presets``
          (read 2026-11-23).
Reports:  usage (asked for in streams); a price where the provider puts one into it (OpenRouter,
          DeepInfra). No queue, no boot: a cold start shows as ``ModelLoading`` where ``cold_when``
          says which answer means it, and as latency otherwise.
Status:   emulator only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from providers import contract
from providers.contract import (
    Capabilities,
    Deployment,
    DeploymentOptions,
    Event,
    GenerateRequest,
    Host,
    Http,
    Provider,
    ProviderPlugin,
    ProviderSettings,
)
from providers.openai_presets import PRESETS
from providers.toolkit.openai_chat import DIALECT, ChatEndpoint, ColdWhen, chat_events

ErrorName = Literal[
    "CapacityUnavailable",
    "ContentRefused",
    "ContextTooLong",
    "CredentialsRejected",
    "ModelLoading",
    "ModelNotFound",
    "QuotaExhausted",
    "RateLimited",
    "RequestRejected",
    "UpstreamFailed",
    "UpstreamTimeout",
]


class ColdWhenRow(BaseModel):
    """An error answer that means "the model is being loaded"."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: int = Field(ge=400, le=599)
    """HTTP status of the answer."""
    contains: str = ""
    """Text that stands somewhere in its body; upper and lower case are the same."""


def _base_url(value: str) -> str:
    value = value.rstrip("/")
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if value.endswith("/chat/completions"):
        raise ValueError("must end before /chat/completions; see the option chat_path")
    return value


class OpenAIChatSettings(ProviderSettings):
    """One account at a provider that speaks the dialect."""

    base_url: Annotated[str, AfterValidator(_base_url)]
    """Address up to, and without, ``/chat/completions``."""
    api_key: SecretStr | None = None
    """Sent as a bearer token."""
    cold_when: tuple[ColdWhenRow, ...] = ()
    """Error answers that mean "the model is being loaded", so that a verdict has evidence."""
    status_errors: dict[int, ErrorName] = Field(default_factory=dict)
    """Statuses that this provider uses in a sense of its own."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the provider calls the bound on output tokens."""
    cancels: bool = True
    """Whether closing the connection ends the work, and so the cost, at this provider."""


class OpenAIChatOptions(DeploymentOptions):
    """One model of such a provider."""

    cold_when: tuple[ColdWhenRow, ...] | None = None
    """Instead of the provider's ``cold_when``."""
    body: dict[str, Any] = Field(default_factory=dict)
    """Keys sent with every request; they win over the caller's."""
    chat_path: str = Field(default="/chat/completions", pattern=r"^/")
    """Path below ``base_url``."""


class OpenAIChatDeployment:
    """One model behind one endpoint."""

    def __init__(self, http: Http, endpoint: ChatEndpoint, capabilities: Capabilities) -> None:
        self._http = http
        self._endpoint = endpoint
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        return chat_events(self._http, self._endpoint, request)


class OpenAIChatProvider:
    """One account; its deployments share one pool of connections."""

    def __init__(self, settings: OpenAIChatSettings, http: Http) -> None:
        self._settings = settings
        self._http = http

    def bind(self, model: str, options: OpenAIChatOptions) -> Deployment:
        settings = self._settings
        headers = {}
        if settings.api_key is not None:
            headers["authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        rows = settings.cold_when if options.cold_when is None else options.cold_when
        endpoint = ChatEndpoint(
            url=settings.base_url + options.chat_path,
            model=model,
            headers=headers,
            cold_when=tuple(ColdWhen(row.status, row.contains) for row in rows),
            extra_body=options.body,
            status_errors={
                status: getattr(contract, name) for status, name in settings.status_errors.items()
            },
            max_tokens_key=settings.max_tokens_key,
        )
        capabilities = Capabilities(dialect=DIALECT, cancels=settings.cancels)
        return OpenAIChatDeployment(self._http, endpoint, capabilities)

    async def aclose(self) -> None:
        """Nothing of its own: the HTTP client is the host's."""


def _build(settings: OpenAIChatSettings, host: Host) -> Provider:
    return OpenAIChatProvider(settings, host.http)


plugin = ProviderPlugin(
    name="openai_chat",
    settings=OpenAIChatSettings,
    options=OpenAIChatOptions,
    build=_build,
    summary="any server that speaks OpenAI's chat completions",
    status="emulator only",
    presets={name: preset.block() for name, preset in PRESETS.items()},
)
