"""The configuration of alerts: whom to tell when cold starts become more, or slower."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator


def _web_address(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address begins with http:// or https://")
    return url


def _signing_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("a secret is whsec_ and 24 to 64 bytes in base64")
    return secret


class AlertSettings(BaseModel):
    """A message to a webhook when cold starts become more frequent, or boots slower.

    The latest ``window_seconds`` are held against the ``against_seconds`` before them, at each
    deployment. Messages are signed (Standard Webhooks).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """What the message calls it."""
    webhook: Annotated[SecretStr, AfterValidator(_web_address)]
    """Where the message is posted."""
    secret: Annotated[SecretStr, AfterValidator(_signing_secret)]
    """Signs the messages: whsec_ and 24 to 64 bytes in base64."""
    allow_private_addresses: bool = False
    """Post to an address of a private network, or of this machine."""
    cold_rate_increase: float | None = Field(default=None, gt=0, le=1)
    """Tell when the cold rate is higher by so much, 0.1 say, and by more than chance explains."""
    boot_p90_increase: float | None = Field(default=None, gt=0)
    """Tell when nine in ten boots take longer by such a share: 0.5 is half as long again."""
    deployments: tuple[str, ...] | None = None
    """Of these deployments; unset: of all."""
    window_seconds: float = Field(default=3600.0, gt=0)
    """What counts as now."""
    against_seconds: float = Field(default=86_400.0, gt=0)
    """What it is held against, as far as this gateway remembers it."""
    fewest_attempts: int = Field(default=20, ge=1)
    """Attempts with a verdict, now and before, below which nothing is said of the cold rate."""
    fewest_boots: int = Field(default=5, ge=1)
    """Boots, now and before, below which nothing is said of their length."""
    repeat_after_seconds: float = Field(default=21_600.0, gt=0)
    """The same is not told again before so long."""
    report_base_url: str | None = None
    """Address of this gateway, for the link to the report; unset: the link is a path."""

    @model_validator(mode="after")
    def _says_what(self) -> AlertSettings:
        if self.cold_rate_increase is None and self.boot_p90_increase is None:
            raise ValueError("name cold_rate_increase, boot_p90_increase or both")
        return self
