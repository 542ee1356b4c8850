"""Configuration of what is sent to OpenTelemetry."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class TelemetrySettings(BaseModel):
    """Traces and metrics for OpenTelemetry: off until there is somewhere to send them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    otlp_endpoint: str | None = None
    """Where spans go, by OTLP over HTTP: the whole address, ``http://127.0.0.1:4318/v1/traces``.
    Needs the extra ``otel``. Headers, a collector's key say, come from
    ``OTEL_EXPORTER_OTLP_HEADERS``."""
    otlp_metrics_endpoint: str | None = None
    """Where the metrics that are made from the journal go every 15 s, likewise:
    ``http://127.0.0.1:4318/v1/metrics``. Those of the moment are on ``/metrics`` alone."""
    service_name: str = Field(default="inference-gateway", min_length=1, max_length=128)
    """What spans and metrics call this gateway."""
    pass_on: bool = True
    """Send ``traceparent`` to providers, whose own spans then join the trace."""

    @property
    def exports(self) -> bool:
        """Whether anything is sent."""
        return self.otlp_endpoint is not None or self.otlp_metrics_endpoint is not None

    @field_validator("otlp_endpoint", "otlp_metrics_endpoint")
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
