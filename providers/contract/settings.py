"""The base of every provider's settings and of every deployment's options."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class ProviderSettings(BaseModel):
    """A provider block of the configuration; a plugin adds its own keys (credentials, say)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base_url: str | None = None
    """Address of the provider's API, without a trailing slash; None: the provider's own."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Headers sent with every call to this provider."""
    ca_file: Path | None = None
    """PEM file with further certificate authorities to trust."""
    proxy: str | None = None
    """Proxy for every call to this provider, as a URL."""
    max_connections: int = Field(default=1000, ge=1)
    """Connections held at most; further calls wait."""
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    """Longest wait for a connection."""


class DeploymentOptions(BaseModel):
    """A deployment's own keys, as its plugin understands them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
