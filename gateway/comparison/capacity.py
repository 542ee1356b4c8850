"""How many replicas traffic needs: a replay has one, and must not hide that it would drown."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.estimates import roofline
from gateway.estimates.estimate import USUAL
from gateway.estimates.hardware import Hardware
from gateway.estimates.tables import Shape

MOST_BATCH = 256  # what engines are set to by default, about
FEW = 8
"""So many at once are believed without knowing the model: batching costs little up to there."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The mean request."""

    input_tokens: float
    output_tokens: float


def fits(shape: Shape, hardware: Hardware) -> bool:
    """Whether the weights have room on the cards."""
    return roofline.gpus_needed(shape, hardware.gpu, batch=1, context_tokens=0) <= hardware.count


def most_at_once(shape: Shape, hardware: Hardware, sizes: Sizes) -> float:
    """How much work of one request at a time a replica does in the same time with batches."""
    context = sizes.input_tokens + sizes.output_tokens
    best, batch = 1.0, 1
    while batch <= MOST_BATCH and (
        roofline.gpus_needed(shape, hardware.gpu, batch=batch, context_tokens=context)
        <= hardware.count
    ):
        best = max(
            best,
            batch * _seconds(shape, hardware, sizes, 1) / _seconds(shape, hardware, sizes, batch),
        )
        batch *= 2
    return best


def alone_seconds(shape: Shape, hardware: Hardware, sizes: Sizes) -> float:
    """The mean request by itself, by the roofline."""
    return _seconds(shape, hardware, sizes, 1)


def slowdown(shape: Shape, hardware: Hardware, sizes: Sizes, batch: int) -> float:
    """How much longer a request takes among so many."""
    return _seconds(shape, hardware, sizes, batch) / _seconds(shape, hardware, sizes, 1)


def replicas(
    at_once: float, shape: Shape | None, hardware: Hardware | None, sizes: Sizes | None
) -> int | None:
    """How many carry ``at_once`` requests, each as long as it takes alone; None: nobody knows."""
    if shape is None or hardware is None or sizes is None:
        return 1 if at_once <= FEW else None
    return max(1, math.ceil(at_once / most_at_once(shape, hardware, sizes)))


def _seconds(shape: Shape, hardware: Hardware, sizes: Sizes, batch: int) -> float:
    return sum(
        roofline.request_seconds(
            shape,
            hardware.gpu,
            gpus=hardware.count,
            batch=batch,
            input_tokens=sizes.input_tokens,
            output_tokens=sizes.output_tokens,
            efficiency=USUAL,
        )
    )
