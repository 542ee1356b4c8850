"""What can be configured, and what a deployment's ``model`` may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from providers.contract import DeploymentOptions, ProviderSettings, WebhookRejected
from providers.replicate.prediction import Prediction
from providers.toolkit.mapping import InputRule, OutputRule, unknown_names
from providers.toolkit.webhooks import signature

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_VERSION = r"[0-9a-f]{64}"
_MODEL = re.compile(rf"(?:(?P<name>{_NAME}/{_NAME})(?::(?P<of>{_VERSION}))?|(?P<bare>{_VERSION}))")


def _base_url(value: str) -> str:
    value = value.rstrip("/")
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


def _public_url(value: str) -> str:
    parts = urlsplit(value)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ValueError("must begin with https://")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an address without a query or a password")
    return value.rstrip("/")


def _signing_secret(value: SecretStr) -> SecretStr:
    try:
        signature(value.get_secret_value(), "", 0, b"")
    except WebhookRejected as error:
        raise ValueError(str(error)) from None
    return value


class ReplicateSettings(ProviderSettings):
    """One account at Replicate."""

    base_url: Annotated[str, AfterValidator(_base_url)] = "https://api.replicate.com/v1"
    """Address of the API, version included."""
    api_token: SecretStr
    """The account's token; it begins with r8_."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """Longest pause between two looks at a prediction that is silent; the first are shorter."""
    webhook_base_url: Annotated[str, AfterValidator(_public_url)] | None = None
    """Address of this gateway as Replicate reaches it, ``https://gateway.example.com``. Set, each
    prediction asks for a webhook when it has ended; null: none does."""
    webhook_secret: Annotated[SecretStr, AfterValidator(_signing_secret)] | None = None
    """What they are signed with, whsec_...; null: the account is asked for it when the first one
    comes."""


class ReplicateOptions(DeploymentOptions):
    """One model. ``model`` is owner/name (official), owner/name:version, or a version alone."""

    deployment: str | None = Field(default=None, pattern=rf"^{_NAME}/{_NAME}$")
    """Run it on this deployment of yours, owner/name; ``model`` then says what runs there."""
    input: InputRule | None = None
    """How common input becomes the model's own; null: by the names in the model's own schema, which
    is read once."""
    output: OutputRule = "auto"
    """What the model's output is."""
    hold_seconds: int = Field(default=5, ge=0, le=60)
    """An answer that need not stream may come with the first call, if it comes within this.

    A caller who leaves meanwhile is noticed upstream only at its end.
    """
    warm_below_seconds: float = Field(default=1.0, ge=0)
    """A prediction that began sooner than this did not wait for a boot."""
    cold_after_seconds: float | None = Field(default=5.0, gt=0)
    """A prediction that waited at least this long counts as cold; null: none is ever called cold.

    Replicate does not tell a queue from a boot, but says that waiting for more than a few seconds
    is typically a worker being started.
    """

    @field_validator("input")
    @classmethod
    def _known_names(cls, rule: InputRule | None) -> InputRule | None:
        if rule is not None and (unknown := unknown_names(rule)):
            raise ValueError(f"no such input of ours: {', '.join(unknown)}")
        return rule

    @model_validator(mode="after")
    def _warm_is_below_cold(self) -> ReplicateOptions:
        cold = self.cold_after_seconds
        if cold is not None and cold < self.warm_below_seconds:
            raise ValueError("cold_after_seconds must not be less than warm_below_seconds")
        return self


@dataclass(frozen=True, slots=True)
class Reference:
    """What a deployment of ours calls: where predictions are made, and where the model is shown."""

    create_path: str
    version: str | None
    schema_path: str | None
    name: str | None = None
    deployment: str | None = None

    def made(self, prediction: Prediction) -> bool:
        """Whether a prediction was made by it: it names its deployment, version and model."""
        if self.deployment is not None or prediction.deployment is not None:
            return bool(prediction.deployment == self.deployment)
        if self.version is not None:
            return bool(prediction.version == self.version)
        return self.name is not None and bool(prediction.model == self.name)


def reference(model: str, deployment: str | None) -> Reference:
    """Read ``model``. Raises ValueError with words for the operator."""
    found = _MODEL.fullmatch(model)
    if found is None:
        raise ValueError(
            f"model: {model!r} is neither owner/name nor owner/name:version nor a version "
            "(64 hexadecimal digits)"
        )
    name, version = found["name"], found["of"] or found["bare"]
    if name is None:
        schema_path = None
    else:
        schema_path = f"/models/{name}" + (f"/versions/{version}" if version else "")
    if deployment is not None:
        path = f"/deployments/{deployment}/predictions"
        return Reference(path, None, schema_path, name, deployment)
    if version is not None:
        return Reference("/predictions", version, schema_path, name)
    return Reference(f"/models/{name}/predictions", None, schema_path, name)
