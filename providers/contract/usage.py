"""What was used, as the provider or its engine counted it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts for one attempt. ``None``: not said; ``0``: said to be zero.

    Units: tokens; ``input_tokens`` includes ``cached_input_tokens``, ``output_tokens`` includes
    ``reasoning_tokens``. An adapter whose provider leaves cached tokens out adds them.
    ``counted`` is true where the adapter asked the engine for the counts (they are exact, but
    nobody will bill by them); a provider's own report leaves it false.
    ``cost_usd`` is a price that the provider put on this very attempt.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    images: int | None = None
    cost_usd: Decimal | None = None
    counted: bool = False
