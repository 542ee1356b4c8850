"""Counts for one attempt, each with where it comes from and how far it can be off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from providers.contract import Usage

CountSource: TypeAlias = Literal["reported", "counted", "estimated"]

# Guaranteed bounds of a byte-level vocabulary: no token is shorter than a byte, none is known
# that is longer than 128 (runs of spaces). A chat template adds tokens that nobody typed.
LONGEST_TOKEN_BYTES = 128
TEMPLATE_TOKENS = 256

# More than any one attempt can use or cost; what is larger is a fault of whoever reports it.
_MOST_OF_ANYTHING = 10**9
_MOST_USD = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Count:
    """A number of things. ``high`` None: nothing bounds it."""

    value: int
    source: CountSource
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Metered:
    """What an attempt used; ``None``: neither known nor worth a guess."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cached_input_tokens: Count | None = None
    reasoning_tokens: int | None = None
    images: int | None = None


NOTHING = Metered(Count(0, "reported", 0, 0), Count(0, "reported", 0, 0))


def believable(usage: Usage | None) -> Usage | None:
    """Reported usage without the numbers that cannot be: negative, absurdly large, or no number.

    What cannot be is not known. Money is computed from these: a minus would be credited, and a
    number beyond what the ledger can hold would leave the attempt without a row.
    """
    if usage is None:
        return None
    wrong: dict[str, Any] = {
        name: None
        for name, value in (
            ("input_tokens", usage.input_tokens),
            ("output_tokens", usage.output_tokens),
            ("cached_input_tokens", usage.cached_input_tokens),
            ("reasoning_tokens", usage.reasoning_tokens),
            ("images", usage.images),
        )
        if value is not None and not (type(value) is int and 0 <= value <= _MOST_OF_ANYTHING)
    }
    usd = usage.cost_usd
    if usd is not None and not (
        isinstance(usd, Decimal) and usd.is_finite() and 0 <= usd <= _MOST_USD
    ):
        wrong["cost_usd"] = None
    return replace(usage, **wrong) if wrong else usage


class TokenEstimator:
    """UTF-8 bytes per token of one deployment, learned from answers that carried usage.

    Starts at 4.0 bytes and moves by a sixteenth towards each observation, so that it settles in a
    few dozen requests and follows a change of language.
    """

    __slots__ = ("bytes_per_token",)

    def __init__(self, bytes_per_token: float = 4.0) -> None:
        self.bytes_per_token = bytes_per_token

    def observe(self, text_bytes: int, tokens: int) -> None:
        """Learn from one text whose tokens are known; tiny ones say too little."""
        if tokens >= 8 and text_bytes > 0:
            seen = min(max(text_bytes / tokens, 1.0), 16.0)
            self.bytes_per_token += (seen - self.bytes_per_token) / 16

    def estimate(self, text_bytes: int) -> int:
        """Tokens of a text, rounded up."""
        return -int(-text_bytes // self.bytes_per_token)


def meter(
    usage: Usage | None,
    *,
    input_bytes: int,
    output_bytes: int,
    images: int,
    max_output_tokens: int | None,
    complete: bool,
    estimator: TokenEstimator,
) -> Metered:
    """Counts of an attempt that may have cost something.

    ``input_bytes`` and ``output_bytes`` are UTF-8 bytes of text. ``complete`` is false where the
    answer was cut, so that more may have been made than was seen: up to ``max_output_tokens``.
    Reported and counted numbers are taken as they are, zero included; the rest is estimated.
    """
    known: CountSource = "counted" if usage is not None and usage.counted else "reported"
    if usage is not None and usage.input_tokens is not None:
        input_tokens = Count(usage.input_tokens, known, usage.input_tokens, usage.input_tokens)
    else:
        high = input_bytes + TEMPLATE_TOKENS
        input_tokens = Count(estimator.estimate(input_bytes), "estimated", 0, high)
    if usage is not None and usage.output_tokens is not None:
        output_tokens = Count(usage.output_tokens, known, usage.output_tokens, usage.output_tokens)
    else:
        low = -(-output_bytes // LONGEST_TOKEN_BYTES)
        # The end-of-text token of a complete answer has no bytes.
        bound = output_bytes + 1 if complete else max_output_tokens
        value = estimator.estimate(output_bytes)
        if max_output_tokens is not None:
            value = min(value, max(low, max_output_tokens))
        output_tokens = Count(value, "estimated", low, None if bound is None else max(bound, value))
    cached = usage.cached_input_tokens if usage is not None else None
    return Metered(
        input_tokens,
        output_tokens,
        None if cached is None else Count(cached, known, cached, cached),
        usage.reasoning_tokens if usage is not None else None,
        usage.images if usage is not None and usage.images is not None else (images or None),
    )
