"""One dated price: what one thing costs from a day on, how it is billed, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

Billed: TypeAlias = Literal["execute", "boot", "queue", "idle", "standing"]
_MILLION = Decimal(1_000_000)
_ABOUT = {
    *("name", "effective_from", "source", "checked_on", "note", "revision", "fetched_at"),
}


@dataclass(frozen=True, slots=True)
class TokenRates:
    """USD for one token of each kind; None: the row does not price it.

    ``..._at_most`` is the dearest that a token of this direction can be where some of them (written
    to a cache, say) cost more and are not counted apart.
    """

    input: Decimal | None
    output: Decimal | None
    cached: Decimal | None
    cached_at_most: Decimal | None
    input_at_most: Decimal | None
    output_at_most: Decimal | None

    @property
    def dearest_input(self) -> Decimal | None:
        """The most that a token that goes in can cost."""
        return _most(self.input, self.cached, self.cached_at_most, self.input_at_most)

    @property
    def dearest_output(self) -> Decimal | None:
        """The most that a token that comes out can cost."""
        return _most(self.output, self.output_at_most)


class Rough(NamedTuple):
    """A row in floats. USD for an answer, for a token, for a second of each kind that is billed.

    ``owns``: a replica is paid for, and not work alone.
    """

    answer: float
    input_token: float
    output_token: float
    execute_second: float
    boot_second: float
    idle_second: float
    owns: bool


class _Tokens(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    usd_per_million_input_tokens: Decimal | None = Field(default=None, ge=0)
    """USD for a million tokens that go in."""
    usd_per_million_output_tokens: Decimal | None = Field(default=None, ge=0)
    """USD for a million tokens that come out."""
    usd_per_million_cached_input_tokens: Decimal | None = Field(default=None, ge=0)
    """None: cached tokens cost what other input tokens cost."""
    usd_per_million_cached_input_tokens_at_most: Decimal | None = Field(default=None, ge=0)
    """The dearest cached input, where some costs more and is not counted apart: makes a range."""
    usd_per_million_input_tokens_at_most: Decimal | None = Field(default=None, ge=0)
    """The dearest other input, likewise."""
    usd_per_million_output_tokens_at_most: Decimal | None = Field(default=None, ge=0)
    """The dearest output, likewise."""

    @model_validator(mode="after")
    def _dearest_is_dearest(self) -> _Tokens:
        for rate, most in (
            (
                self.usd_per_million_cached_input_tokens,
                self.usd_per_million_cached_input_tokens_at_most,
            ),
            (self.usd_per_million_input_tokens, self.usd_per_million_input_tokens_at_most),
            (self.usd_per_million_output_tokens, self.usd_per_million_output_tokens_at_most),
        ):
            if most is not None and (rate is None or most < rate):
                raise ValueError("a rate 'at most' is for a rate that is no higher")
        return self

    @cached_property
    def token_rates(self) -> TokenRates:
        """The rates for one token each."""
        return TokenRates(
            *(
                None if rate is None else rate / _MILLION
                for rate in (
                    self.usd_per_million_input_tokens,
                    self.usd_per_million_output_tokens,
                    self.usd_per_million_cached_input_tokens,
                    self.usd_per_million_cached_input_tokens_at_most,
                    self.usd_per_million_input_tokens_at_most,
                    self.usd_per_million_output_tokens_at_most,
                )
            )
        )

    @property
    def usd_per_input_token(self) -> Decimal | None:
        """The rate of one token that goes in, of the shortest requests where there are tiers."""
        return self.token_rates.input

    @property
    def usd_per_output_token(self) -> Decimal | None:
        """The rate of one that comes out, likewise."""
        return self.token_rates.output

    @property
    def usd_per_cached_input_token(self) -> Decimal | None:
        """The rate of one found in the provider's cache, likewise."""
        return self.token_rates.cached


class TokenTier(_Tokens):
    """All token rates of a request whose input is longer than so much; no other rate is kept."""

    above_input_tokens: int = Field(ge=0)
    """The tier is for more input tokens than this, cached ones included, and for all of them."""


class PriceRow(_Tokens):
    """What one thing costs, from a day on, according to a source."""

    name: str
    """What deployments call the price by."""
    effective_from: date
    """First day (UTC) on which the row holds."""
    source: str
    """Where the figure stands: an address, or who set it."""
    checked_on: date
    """Day on which the source was last read."""
    note: str = ""
    """What a reader must know about the figure."""
    tiers: tuple[TokenTier, ...] = ()
    """Token rates of longer requests, ascending."""
    may_add: tuple[str, ...] = ()
    """Charges that may come on top and that nobody counts here; named in ``pending``."""
    usd_per_second: Decimal | None = Field(default=None, ge=0)
    """USD for a second of the kinds that are billed."""
    usd_per_image: Decimal | None = Field(default=None, ge=0)
    """USD for an image that comes out."""
    usd_per_request: Decimal | None = Field(default=None, ge=0)
    """USD for each attempt."""
    bills: frozenset[Billed] = frozenset({"execute"})
    """Which seconds ``usd_per_second`` is charged for; standing: all of them, used or not."""
    round_up_seconds: Decimal | None = Field(default=None, gt=0)
    """Each billed duration is rounded up to a multiple of this."""
    shared: bool = False
    """One machine runs several requests: each second is split over those running in it."""

    revision: str | None = None
    """Set on prices that stand in the configuration; takes the day's place in the id."""
    fetched_at: datetime | None = None
    """Set on rows that the gateway read from their source; takes the day's place in the id."""

    @model_validator(mode="after")
    def _has_a_rate(self) -> PriceRow:
        rates = (
            self.usd_per_million_input_tokens,
            self.usd_per_million_output_tokens,
            self.usd_per_second,
            self.usd_per_image,
            self.usd_per_request,
        )
        if all(rate is None for rate in rates):
            raise ValueError("a price needs at least one rate")
        if "standing" in self.bills and self.bills != {"standing"}:
            raise ValueError("standing seconds are all seconds: nothing can be billed beside them")
        starts = [tier.above_input_tokens for tier in self.tiers]
        if starts != sorted(set(starts)):
            raise ValueError("tiers ascend, and each begins at another count of tokens")
        own = _priced(self)
        if any(_priced(tier) != own for tier in self.tiers):
            raise ValueError("a tier prices what its row prices, no more and no less")
        return self

    @cached_property
    def rough(self) -> Rough:
        """The same in floats, for comparing what is expected: nothing is booked by them."""
        second = float(self.usd_per_second or 0)
        billed = frozenset() if self.usd_per_second is None else self.bills
        return Rough(
            float(self.usd_per_request or 0) + float(self.usd_per_image or 0),
            float(self.usd_per_million_input_tokens or 0) / 1e6,
            float(self.usd_per_million_output_tokens or 0) / 1e6,
            second if "execute" in billed else 0.0,
            second if "boot" in billed else 0.0,
            second if "idle" in billed else 0.0,
            not billed.isdisjoint({"boot", "idle", "standing"}),
        )

    @cached_property
    def id(self) -> str:
        """Name and date: what a cost line quotes."""
        if self.fetched_at is not None:
            return f"{self.name}@{self.fetched_at:%Y-%m-%dT%H:%M:%SZ}"
        return f"{self.name}@{self.revision or self.effective_from}"

    @cached_property
    def simple_tokens(self) -> bool:
        """Whether every token of a kind costs the same, whatever the request."""
        rates = self.token_rates
        ranges = (rates.cached_at_most, rates.input_at_most, rates.output_at_most)
        return not self.tiers and all(rate is None for rate in ranges)

    @cached_property
    def dearest_tokens(self) -> tuple[Decimal | None, Decimal | None]:
        """The most that a token in and a token out can cost, however long the request."""
        rates = self.token_rates_between(0, None)
        return (
            _most(*(one.dearest_input for one in rates)),
            _most(*(one.dearest_output for one in rates)),
        )

    def token_rates_between(self, low: int, high: int | None) -> list[TokenRates]:
        """Rates that hold somewhere between two counts of input tokens; the lower count's first."""
        found = [self.token_rates]
        for tier in self.tiers:
            if high is not None and tier.above_input_tokens >= high:
                break
            if tier.above_input_tokens < low:
                found.clear()
            found.append(tier.token_rates)
        return found

    @cached_property
    def terms(self) -> dict[str, object]:
        """What is charged, without who says so and since when."""
        return self.model_dump(exclude=_ABOUT)

    @cached_property
    def record(self) -> dict[str, object]:
        """The row as the ledger keeps it: set fields only, money as strings."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _most(*rates: Decimal | None) -> Decimal | None:
    return max((rate for rate in rates if rate is not None), default=None)


def _priced(rates: _Tokens) -> tuple[bool, ...]:
    return tuple(
        rate is not None
        for rate in (
            rates.usd_per_million_input_tokens,
            rates.usd_per_million_output_tokens,
        )
    )
