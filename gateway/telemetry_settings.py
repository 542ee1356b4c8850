"""Configuration of traces."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TelemetrySettings(BaseModel):
    """Traces for OpenTelemetry: off until there is somewhere to send them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    otlp_endpoint: str | None = None
    """Where spans go, by OTLP over HTTP: the whole address, ``http://127.0.0.1:4318/v1/traces``.
    Needs the extra ``otel``. Headers, a collector's key say, come from
    ``OTEL_EXPORTER_OTLP_HEADERS``."""
    service_name: str = Field(default="inference-gateway", min_length=1, max_length=128)
    """What the spans call this gateway."""
    pass_on: bool = True
    """Send ``traceparent`` to providers, whose own spans then join the trace."""

    @field_validator("otlp_endpoint")
    @classmethod
    def _an_address(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it must begin with http:// or https:// and name a host")
        if parts.username is not None or parts.password is not None or parts.query:
            # It stands on the command line of the process that sends them.
            raise ValueError("it must hold no secret: use OTEL_EXPORTER_OTLP_HEADERS")
        return endpoint
