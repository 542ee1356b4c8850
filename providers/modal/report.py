"""What a deployed function may say of itself, beside its answer: the convention of ``EXAMPLE.md``.

A dict with the key ``gateway``, alone (an item of a generator) or besides the answer:

    {"output": "the answer", "gateway": {"instance_id": "ta-…", "process_age_seconds": 0.2, …}}

What does not have exactly this form is an ordinary value, passed on as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from providers.contract import (
    ContentRefused,
    ContextTooLong,
    ProviderError,
    RequestRejected,
    Usage,
)

KEY = "gateway"
NOTHING = object()

_ERRORS: Mapping[str, type[ProviderError]] = {
    "context_too_long": ContextTooLong,
    "content_refused": ContentRefused,
    "invalid_request": RequestRejected,
}


def _span(seconds: float | None) -> float | None:
    """None for a negative span: of a clock that was set back, or restored from a snapshot."""
    return seconds if seconds is not None and 0 <= seconds < math.inf else None


Seconds: TypeAlias = Annotated[float | None, AfterValidator(_span)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReportedUsage(_Part):
    """Counts of one call; what is left out is unknown."""

    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cached_input_tokens: int | None = Field(default=None, ge=0)
    reasoning_tokens: int | None = Field(default=None, ge=0)
    images: int | None = Field(default=None, ge=0)

    def usage(self) -> Usage:
        """The same, as the contract has it; counted by the function itself."""
        return Usage(
            self.input_tokens,
            self.output_tokens,
            self.cached_input_tokens,
            self.reasoning_tokens,
            self.images,
            counted=True,
        )


class ReportedError(_Part):
    """A request that the function refuses, in words for the caller's program."""

    code: Literal["context_too_long", "content_refused", "invalid_request"]
    param: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9_.\[\]]{0,63}$")

    def error(self) -> ProviderError:
        """The error to raise."""
        return _ERRORS[self.code](param=self.param)


class Report(_Part):
    """Everything is optional; units are seconds of the container's own monotonic clock."""

    instance_id: str | None = Field(default=None, min_length=1, max_length=200)
    """The container, ``os.environ["MODAL_TASK_ID"]`` there."""
    process_age_seconds: Seconds = None
    """Age of the process when this call began in it."""
    boot_seconds: Seconds = None
    """What the process needed from its start until it could take calls."""
    execute_seconds: Seconds = None
    """How long this call was worked on."""
    finish_reason: str | None = Field(default=None, max_length=64)
    """Why the answer ended: ``stop``, ``length`` …"""
    usage: ReportedUsage | None = None
    """What was used."""
    error: ReportedError | None = None
    """Instead of an answer."""


def split(item: Any) -> tuple[Report | None, Any]:
    """The report in what a function gave, and what else it gave; ``NOTHING`` where that is all."""
    if not isinstance(item, Mapping) or KEY not in item:
        return None, item
    try:
        report = Report.model_validate(item[KEY])
    except ValidationError:
        return None, item
    rest = {key: value for key, value in item.items() if key != KEY}
    if not rest:
        return report, NOTHING
    return report, rest["output"] if rest.keys() == {"output"} else rest
