"""How long requests would take somewhere: measured there, or scaled from elsewhere and said so.

A duration that was measured on other hardware is never taken over as it is: it is scaled by what
the two cards can do, and the result is an estimate with a range. Where there is nothing to scale,
the duration is not known.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.comparison.capacity import Sizes, alone_seconds, fits
from gateway.estimates import roofline
from gateway.estimates.estimate import BEST, USUAL, WORST
from gateway.estimates.hardware import Hardware
from gateway.estimates.tables import Shape
from gateway.warmth.arrivals import UNKNOWN, Traffic, rank

Status: TypeAlias = Literal["measured", "estimated"]


@dataclass(frozen=True, slots=True)
class Law:
    """Seconds of a request from its output tokens; ``low`` and ``high`` are factors around it."""

    fixed_seconds: float
    seconds_per_token: float
    low: float
    high: float
    requests: int
    mean_seconds: float

    def scaled(self, by: float, low: float, high: float) -> Law:
        """The same on hardware that takes ``by`` times as long, between ``low`` and ``high``."""
        return Law(
            self.fixed_seconds * by,
            self.seconds_per_token * by,
            self.low * low / by,
            self.high * high / by,
            self.requests,
            self.mean_seconds * by,
        )

    def execute_us(self, output_tokens: int) -> int:
        """One request, in microseconds."""
        if output_tokens == UNKNOWN:
            return round(self.mean_seconds * 1e6)
        return round((self.fixed_seconds + self.seconds_per_token * output_tokens) * 1e6)


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations at one candidate: a column for each stretch of the traffic."""

    columns: list[array[int]]
    status: Status
    low: float
    """Factor on the sum of the durations that an estimate may be off by, downwards."""
    high: float
    """The same, upwards."""
    basis: str


def law_of(pairs: Iterable[tuple[int, int]]) -> Law | None:
    """A line through (output tokens, microseconds) of what was measured; None of nothing.

    The line rises and begins at 0 or above. Its range is where half of the requests lay.
    """
    seen = list(pairs)
    if not seen:
        return None
    mean = math.fsum(us for _, us in seen) / len(seen) / 1e6
    counted = [(tokens, us / 1e6) for tokens, us in seen if tokens != UNKNOWN]
    fixed, slope = mean, 0.0
    if len(counted) == len(seen):
        mean_tokens = math.fsum(tokens for tokens, _ in counted) / len(counted)
        spread = math.fsum((tokens - mean_tokens) ** 2 for tokens, _ in counted)
        if spread:
            slope = max(
                0.0,
                math.fsum((tokens - mean_tokens) * (s - mean) for tokens, s in counted) / spread,
            )
        elif mean_tokens:
            slope = mean / mean_tokens
        fixed = mean - slope * mean_tokens
        if fixed < 0:
            fixed, slope = 0.0, mean / mean_tokens
    factors = sorted(
        us / 1e6 / told
        for tokens, us in seen
        if (told := fixed + (slope * tokens if tokens != UNKNOWN else 0.0)) > 0
    )
    low, high = rank(factors, 0.25), rank(factors, 0.75)
    return Law(fixed, slope, min(1.0, low or 1.0), max(1.0, high or 1.0), len(seen), mean)


def measured_laws(traffic: Traffic) -> dict[str, Law]:
    """The law of each deployment that served any of the requests."""
    pairs: dict[int, list[tuple[int, int]]] = {}
    for stretch in traffic.stretches:
        rows = stretch.arrivals
        for source, tokens, us in zip(
            rows.source, rows.output_tokens, rows.execute_us, strict=True
        ):
            if us != UNKNOWN:
                pairs.setdefault(source, []).append((tokens, us))
    found = ((traffic.sources[source], law_of(of)) for source, of in pairs.items())
    return {name: law for name, law in found if law is not None}


def at_deployment(traffic: Traffic, name: str, law: Law) -> Timing:
    """Where it was measured: as measured, and by its law for requests that went elsewhere."""
    columns, guessed = _columns(traffic, name, law, 1.0)
    if not guessed:
        return Timing(columns, "measured", 1.0, 1.0, f"measured on {law.requests:,} requests")
    return Timing(
        columns,
        "estimated",
        1 - guessed * (1 - law.low),
        1 + guessed * (law.high - 1),
        f"from {law.requests:,} requests measured here, for those that went elsewhere",
    )


def from_reference(traffic: Traffic, name: str, law: Law, there: Law, basis: str) -> Timing:
    """Each request as it was measured at ``name``, times what the card makes of it.

    ``law`` is what was measured, ``there`` the same scaled to the candidate's card.
    """
    by = there.mean_seconds / law.mean_seconds if law.mean_seconds else 1.0
    columns, guessed = _columns(traffic, name, there, by)
    card = (there.low / law.low, there.high / law.high)
    low, high = (
        (1 - guessed) * of_card + guessed * of_both
        for of_card, of_both in zip(card, (there.low, there.high), strict=True)
    )
    return Timing(columns, "estimated", low, high, basis)


def _columns(traffic: Traffic, name: str, law: Law, by: float) -> tuple[list[array[int]], float]:
    """What was measured at ``name``, ``by`` times as long, else the law; and the law's share."""
    number = traffic.sources.index(name) if name in traffic.sources else None
    columns, guessed, all_of_it = [], 0, 0
    for stretch in traffic.stretches:
        rows = stretch.arrivals
        column = array("q")
        for source, us, tokens in zip(
            rows.source, rows.execute_us, rows.output_tokens, strict=True
        ):
            if source == number and us != UNKNOWN:
                column.append(us if by == 1 else round(us * by))
            else:
                column.append(law.execute_us(tokens))
                guessed += column[-1]
        all_of_it += sum(column)
        columns.append(column)
    return columns, guessed / all_of_it if all_of_it else 0.0


def by_law(traffic: Traffic, law: Law, basis: str) -> Timing:
    """All requests by a law: traffic of which nothing was measured."""
    columns = [
        array("q", map(law.execute_us, stretch.arrivals.output_tokens))
        for stretch in traffic.stretches
    ]
    return Timing(columns, "estimated", law.low, law.high, basis)


def scaled(
    law: Law, here: Hardware, there: Hardware, shape: Shape | None, sizes: Sizes | None
) -> Law:
    """A law of ``here`` for ``there``: by bandwidth, which bounds decoding, up to arithmetic.

    Where the model and the mean request are known, it is the roofline of both that is compared.
    """
    bandwidth = (here.gpu.bandwidth_gb_per_second * here.count) / (
        there.gpu.bandwidth_gb_per_second * there.count
    )
    arithmetic = (here.gpu.dense_fp16_tflops * here.count) / (
        there.gpu.dense_fp16_tflops * there.count
    )
    by = bandwidth
    if shape is not None and sizes is not None:
        by = alone_seconds(shape, there, sizes) / alone_seconds(shape, here, sizes)
    # What neither limit explains stays as it is: overhead does not scale with the card.
    return law.scaled(by, min(by, bandwidth, arithmetic), max(by, bandwidth, arithmetic, 1.0))


def by_roofline(traffic: Traffic, shape: Shape, hardware: Hardware) -> Timing | None:
    """From the data sheet alone; None where the tokens of any request are not known."""
    if not fits(shape, hardware):
        return None
    columns, sums = [], [0.0, 0.0, 0.0]
    terms = []
    for at in (USUAL, BEST, WORST):
        step = roofline.decode(
            shape, hardware.gpu, gpus=hardware.count, batch=1, context_tokens=0, efficiency=at
        ).seconds
        arithmetic = hardware.count * hardware.gpu.dense_fp16_tflops * 1e12 * at.compute
        terms.append((2 * shape.parameters / arithmetic * 1e6, step * 1e6, at.overhead_seconds))
    (per_input, per_output, fixed), *_ = terms
    for stretch in traffic.stretches:
        rows = stretch.arrivals
        if UNKNOWN in rows.input_tokens or UNKNOWN in rows.output_tokens:
            return None
        columns.append(
            array(
                "q",
                (
                    round(fixed * 1e6 + per_input * given + per_output * made)
                    for given, made in zip(rows.input_tokens, rows.output_tokens, strict=True)
                ),
            )
        )
        given, made = sum(rows.input_tokens), sum(rows.output_tokens)
        for number, (a, b, c) in enumerate(terms):
            sums[number] += a * given + b * made + c * 1e6 * len(rows)
    usual, best, worst = sums
    if not usual:
        return None
    return Timing(
        columns,
        "estimated",
        best / usual,
        worst / usual,
        f"roofline of {shape.name} on {hardware}, nothing measured",
    )
