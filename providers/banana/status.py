"""What a Potassium server says about itself."""

from __future__ import annotations

from dataclasses import dataclass

from providers.banana.answers import parsed
from providers.contract import ProtocolViolation


@dataclass(frozen=True, slots=True)
class Status:
    """``/_k/status``. ``free``: a worker has nothing to do; ``idle``: none has anything to do."""

    free: bool
    idle: bool
    sequence_number: int | None

    @classmethod
    def read(cls, raw: bytes) -> Status:
        """Also for the older template's ``{"state": "healthy"}``, which says no more than that."""
        said = parsed(raw)
        if not isinstance(said, dict):
            raise ProtocolViolation("The server's status is not an object.")
        number, idle = said.get("sequence_number"), said.get("idle_time")
        return cls(
            free=said.get("gpu_available") is True,
            idle=type(idle) is int and idle > 0,
            sequence_number=number if type(number) is int else None,
        )
