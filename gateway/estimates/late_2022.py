"""A well-known back-of-the-envelope sum of December 2022, done again with the roofline.

Source: https://threadreaderapp.com/thread/1600196981955100694.html (read 2026-11-26). Its figures
are quoted as published; each is held against the same arithmetic and, where it is off, says how.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.estimates.roofline import Efficiency, decode, gpus_needed, prefill_seconds
from gateway.estimates.tables import Gpu, Shape, find, gpus, shapes

WORDS_PER_TOKEN = Decimal("0.75")  # English prose, a rule of thumb
_USD_PER_GPU_SECOND = Decimal(3) / 3600
_ANSWER_WORDS = 30
_QUERIES_PER_DAY = 10_000_000


@dataclass(frozen=True, slots=True)
class Claim:
    """One published figure; ``value`` is ours, in the unit that ``unit`` names."""

    claim: str
    published: str
    value: Decimal
    unit: str
    verdict: str

    def row(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "claim": self.claim,
            "published": self.published,
            "value": f"{self.value:,.0f}" if self.value >= 1000 else f"{float(self.value):.3g}",
            "unit": self.unit,
            "verdict": self.verdict,
        }


def claims() -> list[Claim]:
    """The published figures in their order, then what they leave out."""
    small, large = _shape("gpt-3-3b"), _shape("gpt-3-175b")
    card_40, card_80 = _gpu("a100-40"), _gpu("a100-80")
    ideal = Efficiency(memory=1.0, compute=1.0, overhead_seconds=0.0)
    at_40, at_80 = (_step_seconds(small, card, 1, ideal) for card in (card_40, card_80))
    reached = Efficiency(memory=at_40 / 0.006, compute=1.0, overhead_seconds=0.0)
    one = Decimal(repr(_step_seconds(large, card_40, 1, reached)))
    per_token = one * _USD_PER_GPU_SECOND
    per_word = per_token / WORDS_PER_TOKEN
    per_answer = per_word * _ANSWER_WORDS
    single, batched = (_tokens_per_second(large, card_80, batch) for batch in (1, 32))
    prefill = prefill_seconds(
        large,
        card_80,
        gpus=8,
        input_tokens=1000,
        efficiency=Efficiency(0.66, 0.5, overhead_seconds=0.0),
    )
    return [
        Claim(
            "3B parameters on one A100, a token",
            "6 ms",
            Decimal(repr(_step_seconds(small, card_40, 1, reached) * 1e3)),
            "ms",
            f"memory bound: {at_40 * 1e3:.3g} ms at the full bandwidth of the 40 GB card, "
            f"{at_80 * 1e3:.3g} ms on the 80 GB one; 6 ms is {at_40 / 0.006:.0%} or "
            f"{at_80 / 0.006:.0%} of it",
        ),
        Claim(
            "175B on one A100, a word",
            "350 ms",
            one * 1000,
            "ms",
            "the 3B figure times 175/3, so it is for a token and not for a word "
            f"(a word: {one / WORDS_PER_TOKEN * 1000:.0f} ms); and it does not fit on one card",
        ),
        Claim(
            "80 GB cards to load it",
            "5",
            Decimal(gpus_needed(large, card_80, batch=1, context_tokens=0, usable=1.0)),
            "cards",
            "350 GB of weights; KV cache "
            f"{(large.kv_bytes_per_token or 0) / 1e6:.2g} MB for each token of context",
        ),
        Claim(
            "8 cards, words a second",
            "15 to 20",
            8 / one * WORDS_PER_TOKEN,
            "words/s",
            f"{8 / one:.3g} tokens/s, if 350 ms is for a token and eight cards lose nothing",
        ),
        Claim(
            "cost of a word at $3 a card-hour",
            "$0.0003",
            per_token,
            "USD for a token",
            f"right for a token; a word costs ${per_word:.2g}",
        ),
        Claim(
            "an answer of 30 words",
            "about 1 cent",
            per_answer,
            "USD",
            f"right: 40 tokens; 30 tokens cost ${per_token * _ANSWER_WORDS:.2g}",
        ),
        Claim(
            "10 million queries, a day",
            "$100K",
            per_answer * _QUERIES_PER_DAY,
            "USD",
            f"right: between ${per_token * _ANSWER_WORDS * _QUERIES_PER_DAY:,.0f} (30 tokens) and "
            "this (30 words)",
        ),
        Claim(
            "left out: a batch of 32 instead of 1",
            "batch 1",
            Decimal(repr(batched / single)),
            "times the tokens/s",
            "8 x A100-80, 1,000 tokens of context, 66 % of the bandwidth: the cost of a token "
            "falls by as much",
        ),
        Claim(
            "left out: reading the prompt",
            "none",
            Decimal(repr(prefill)),
            "s on 8 cards",
            "for 1,000 tokens at half of the arithmetic peak",
        ),
        Claim(
            "left out: seconds paid without work",
            "always in use",
            Decimal(5),
            "times the cost",
            "where the cards work in 20 % of the seconds that are paid for",
        ),
    ]


def _step_seconds(shape: Shape, card: Gpu, count: int, at: Efficiency) -> float:
    return decode(shape, card, gpus=count, batch=1, context_tokens=0, efficiency=at).seconds


def _tokens_per_second(shape: Shape, card: Gpu, batch: int) -> float:
    at = Efficiency(0.66, 0.5, overhead_seconds=0.0)
    step = decode(shape, card, gpus=8, batch=batch, context_tokens=1000, efficiency=at)
    return batch / step.seconds


def _shape(name: str) -> Shape:
    found = find(shapes(), name)
    assert found is not None
    return found


def _gpu(name: str) -> Gpu:
    found = find(gpus(), name)
    assert found is not None
    return found
