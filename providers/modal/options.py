"""What can be configured about Modal."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from providers.contract import DeploymentOptions, ProviderSettings
from providers.toolkit.mapping import InputRule, OutputRule, unknown_names

FUNCTION_ONLY = {"method", "stream_method", "allow_pickle"}
URL_ONLY = {"path", "protocol", "api_key", "cancels", "max_redirects"}


class ModalSettings(ProviderSettings):
    """One account. ``base_url`` is not used; see ``server_url``.

    ``headers``, ``ca_file``, ``proxy`` and ``max_connections`` are for deployments with a ``url``;
    functions are called through Modal's SDK, which does not take them.
    """

    token_id: str | None = Field(default=None, pattern=r"^ak-")
    """API token, ``ak-…``; needed for functions and classes."""
    token_secret: SecretStr | None = None
    """Its secret, ``as-…``."""
    server_url: str | None = Field(default=None, pattern=r"^(https?|unix)://")
    """Address of Modal's control plane; null: Modal's own."""
    environment: str | None = None
    """Modal environment of all deployments that name none; null: the workspace's default."""
    proxy_token_id: str | None = Field(default=None, pattern=r"^wk-")
    """Proxy auth token of web endpoints, ``wk-…``, sent as ``Modal-Key``."""
    proxy_token_secret: SecretStr | None = None
    """Its secret, ``ws-…``, sent as ``Modal-Secret``."""
    connect_timeout_seconds: float = Field(default=10.0, gt=0)
    """Longest wait for a connection; for the SDK, with the first look-up on it."""
    rpc_timeout_seconds: float = Field(default=2.0, gt=0)
    """Longest wait for evidence of a cold start; without it the verdict rests on other things."""

    @model_validator(mode="after")
    def _complete(self) -> ModalSettings:
        if self.base_url is not None:
            raise ValueError("base_url: Modal's control plane is set by server_url")
        if (self.token_id is None) != (self.token_secret is None):
            raise ValueError("token_id and token_secret are only of use together")
        if (self.proxy_token_id is None) != (self.proxy_token_secret is None):
            raise ValueError("proxy_token_id and proxy_token_secret are only of use together")
        return self


class ModalOptions(DeploymentOptions):
    """A function or class deployed at Modal, or one of its web endpoints by ``url``.

    With a ``url``, ``app`` and ``function`` (or ``cls``) may name what stands behind it: only to
    read and set its scale.
    """

    app: str | None = None
    """Name of the deployed app."""
    environment_name: str | None = None
    """Modal environment of the app; null: the provider block's."""
    function: str | None = Field(default=None, pattern=r"^[^.]+$")
    """A function that returns its answer."""
    cls: str | None = Field(default=None, pattern=r"^[^.]+$")
    """A class, with ``method``, ``stream_method`` or both."""
    parameters: dict[str, str | int | bool] = Field(default_factory=dict)
    """Parameters of the class; each set of values has containers of its own."""
    method: str | None = None
    """Method of ``cls`` that returns its answer."""
    stream_method: str | None = None
    """Method of ``cls`` (without one, function of the app) that yields its answer in pieces.

    Work that streams cannot be cancelled through Modal's SDK: it goes on, and bills, when the
    caller has left.
    """
    allow_pickle: bool = False
    """Take answers from functions that cannot speak CBOR. A pickle can run any code in here."""

    url: str | None = Field(default=None, pattern=r"^https?://")
    """A web endpoint, ``https://<workspace>--<app>-<function>.modal.run``."""
    protocol: Literal["openai_chat", "json"] = "openai_chat"
    """What the endpoint speaks: OpenAI's chat completions, or JSON by ``input`` and ``output``."""
    path: str | None = Field(default=None, pattern=r"^(/.*)?$")
    """Path below ``url``; null: ``/v1/chat/completions``, or none for JSON."""
    api_key: SecretStr | None = None
    """Sent as a bearer token, for servers that have a key of their own (vLLM)."""
    cancels: bool = False
    """Whether work at the endpoint ends when its caller leaves; Modal does not say."""
    max_redirects: int = Field(default=20, ge=0)
    """Modal answers 303 every 150 s while work goes on; so many are followed."""

    input: InputRule = "kwargs"
    """How a common request becomes the arguments: keyword arguments (``kwargs``), one object
    (``payload``), OpenAI's names (``messages``), or names given one by one."""
    output: OutputRule = "auto"
    """What comes back."""
    read_scale: bool = True
    """Ask for the number of containers before each call, as evidence; costs a round trip."""

    @field_validator("input")
    @classmethod
    def _known_names(cls, rule: InputRule) -> InputRule:
        if wrong := unknown_names(rule):
            raise ValueError(f"unknown names: {', '.join(wrong)}")
        return rule

    @model_validator(mode="after")
    def _one_kind(self) -> ModalOptions:
        given = self.model_fields_set
        if self.function is not None and self.cls is not None:
            raise ValueError("function and cls exclude each other")
        names_one = self.function is not None or self.cls is not None
        if self.app is None and (names_one or self.url is None):
            raise ValueError("app is needed")
        if self.cls is None and (self.method is not None or self.parameters):
            raise ValueError("method and parameters belong to a cls")
        unused = FUNCTION_ONLY - {"method"} if self.url is not None else URL_ONLY
        if self.url is not None:
            if self.cls is not None and self.method is None:
                raise ValueError("a url with a cls needs its method")
            if self.app is not None and not names_one:
                raise ValueError("a url with an app needs its function or cls")
            if not names_one:
                unused = unused | {"read_scale", "method", "environment_name"}
            if self.protocol == "openai_chat":
                unused = unused | {"input", "output"}
        elif not names_one and self.stream_method is None:
            raise ValueError("function, cls or stream_method is needed")
        elif self.cls is not None and self.method is None and self.stream_method is None:
            raise ValueError("a cls needs method, stream_method or both")
        if ignored := sorted(unused & given):
            raise ValueError(f"without a use here: {', '.join(ignored)}")
        return self

    @property
    def chat_path(self) -> str:
        """The path, filled in."""
        if self.path is not None:
            return self.path
        return "/v1/chat/completions" if self.protocol == "openai_chat" else ""

    def class_parameters(self) -> tuple[tuple[str, Any], ...]:
        """``parameters``, in a form that can be compared."""
        return tuple(sorted(self.parameters.items()))
