"""How much an attempt can cost, by how far it has come. Pure.

Units: whole pico-USD, each rate rounded up to one. What is bounded from the start (the input, the
       output that the caller allowed, the price of a call) is ``fixed``; the rest grows with the
       output's tokens and images and with billed seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from gateway.accounting.metering import TEMPLATE_TOKENS
from gateway.accounting.prices import PriceRow

SLICE_TOKENS = 512
SLICE_SECONDS = 10

_PICO = Decimal(10) ** 12


@dataclass(frozen=True, slots=True)
class Rates:
    """A price row in whole pico-USD. ``rounding`` is what rounding up can add to its seconds."""

    per_request: int
    per_input_token: int
    per_output_token: int
    per_image: int
    per_second: int
    rounding: int
    bills_waiting: bool

    @classmethod
    def of(cls, row: PriceRow) -> Rates:
        """The rates of a price row; a rate that it does not have is 0."""
        per_second = _pico(row.usd_per_second)
        step = (row.round_up_seconds or Decimal(0)) * len(row.bills) * per_second
        return cls(
            per_request=_pico(row.usd_per_request),
            per_input_token=_pico(row.usd_per_input_token),
            per_output_token=_pico(row.usd_per_output_token),
            per_image=_pico(row.usd_per_image),
            per_second=per_second if row.bills - {"idle"} else 0,
            rounding=int(step.to_integral_value(ROUND_CEILING)),
            bills_waiting=bool(row.bills & {"boot", "queue"}),
        )


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one attempt can cost. ``per_token`` is 0 where ``fixed`` holds all output already."""

    fixed: int
    per_token: int
    per_image: int
    per_second: int
    most_us: int
    slice: int
    bills_waiting: bool

    @property
    def grows(self) -> bool:
        """Whether there is anything to watch while the attempt runs."""
        return bool(self.per_token or self.per_image or self.per_second)

    def at(self, tokens: int, images: int, billed_us: int) -> int:
        """What it has cost at most, after so many tokens, images and billed microseconds."""
        seconds = -(-self.per_second * min(billed_us, self.most_us) // 1_000_000)
        return self.fixed + self.per_token * tokens + self.per_image * images + seconds

    def wanted(self, tokens: int, images: int, billed_us: int) -> int:
        """What to set aside then: a slice more, but for time no more than there can be."""
        wanted = self.at(tokens, images, billed_us) + self.slice
        if self.per_token or self.per_image:
            return wanted
        return min(wanted, self.at(0, 0, self.most_us))

    def is_time_covered(self, pico_usd: int) -> bool:
        """Whether so much pays for all the time there can be, if nothing else grows."""
        return pico_usd >= self.at(0, 0, self.most_us)


def exposure_of(
    rates: Rates,
    *,
    input_bytes: int,
    max_output_tokens: int | None,
    total_seconds: float,
    slice_pico_usd: int | None,
) -> Exposure:
    """The exposure of an attempt with these bounds.

    A slice that nobody has set is 512 output tokens, one image and 10 seconds of what has no
    bound.
    """
    bounded = max_output_tokens is not None
    per_token = 0 if bounded else rates.per_output_token
    fixed = rates.per_request + rates.rounding
    fixed += rates.per_input_token * (input_bytes + TEMPLATE_TOKENS)
    if max_output_tokens is not None:
        fixed += rates.per_output_token * max_output_tokens
    computed = per_token * SLICE_TOKENS + rates.per_image + rates.per_second * SLICE_SECONDS
    return Exposure(
        fixed=fixed,
        per_token=per_token,
        per_image=rates.per_image,
        per_second=rates.per_second,
        most_us=round(total_seconds * 1_000_000),
        slice=computed if slice_pico_usd is None or not computed else slice_pico_usd,
        bills_waiting=rates.bills_waiting,
    )


def _pico(usd: Decimal | None) -> int:
    return 0 if usd is None else int((usd * _PICO).to_integral_value(ROUND_CEILING))
