"""How long a model takes at best, from what its hardware can do. A roofline: two limits and a rest.

A decode step reads every weight once, and the KV cache of each sequence; it does two operations
for each weight and sequence. Whichever takes longer bounds it; what the software adds comes on top:

    step    = max(bytes read / bandwidth, operations / arithmetic) + overhead
    prefill = operations / arithmetic + overhead, for all tokens of the prompt at once

Units:  seconds, bytes, tokens. ``batch`` sequences are decoded together, ``gpus`` share the work
        without loss: what they say to each other is left out.
Source: H. He, https://horace.io/brrr_intro.html (memory, compute, overhead).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.estimates.tables import Gpu, Shape

Regime: TypeAlias = Literal["memory", "compute", "overhead"]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Shares of the data sheet that are reached, and seconds added to each step."""

    memory: float = 0.66
    compute: float = 0.5
    overhead_seconds: float = 0.002


@dataclass(frozen=True, slots=True)
class Step:
    """One decode step of the whole batch: a token for each sequence."""

    memory_seconds: float
    compute_seconds: float
    overhead_seconds: float

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return max(self.memory_seconds, self.compute_seconds) + self.overhead_seconds

    @property
    def regime(self) -> Regime:
        """The largest of the three."""
        work = max(self.memory_seconds, self.compute_seconds)
        if self.overhead_seconds > work:
            return "overhead"
        return "memory" if self.memory_seconds >= self.compute_seconds else "compute"


def decode(
    shape: Shape,
    gpu: Gpu,
    *,
    gpus: int,
    batch: int,
    context_tokens: float,
    efficiency: Efficiency,
) -> Step:
    """A decode step at ``context_tokens`` of each sequence; an unknown KV cache is left out."""
    weights = shape.parameters * shape.weight_bytes
    cache = batch * (shape.kv_bytes_per_token or 0.0) * context_tokens
    bandwidth = gpus * gpu.bandwidth_gb_per_second * 1e9 * efficiency.memory
    arithmetic = gpus * gpu.dense_fp16_tflops * 1e12 * efficiency.compute
    return Step(
        (weights + cache) / bandwidth,
        2 * shape.parameters * batch / arithmetic,
        efficiency.overhead_seconds,
    )


def prefill_seconds(
    shape: Shape, gpu: Gpu, *, gpus: int, input_tokens: float, efficiency: Efficiency
) -> float:
    """Reading one prompt."""
    if input_tokens <= 0:
        return 0.0
    arithmetic = gpus * gpu.dense_fp16_tflops * 1e12 * efficiency.compute
    return 2 * shape.parameters * input_tokens / arithmetic + efficiency.overhead_seconds


def request_seconds(
    shape: Shape,
    gpu: Gpu,
    *,
    gpus: int,
    batch: int,
    input_tokens: float,
    output_tokens: float,
    efficiency: Efficiency,
) -> tuple[float, float]:
    """Prefill and decode of one request that goes through together with ``batch`` - 1 others.

    The prompts of a batch are read one after the other, so a request waits for all of them.
    """
    middle = input_tokens + output_tokens / 2
    step = decode(
        shape, gpu, gpus=gpus, batch=batch, context_tokens=middle, efficiency=efficiency
    ).seconds
    reading = prefill_seconds(
        shape, gpu, gpus=gpus, input_tokens=input_tokens, efficiency=efficiency
    )
    return batch * reading, output_tokens * step


def memory_bytes(shape: Shape, *, batch: int, context_tokens: float) -> tuple[float, float | None]:
    """Weights and KV cache; the cache None where it is not known."""
    per_token = shape.kv_bytes_per_token
    cache = None if per_token is None else batch * per_token * context_tokens
    return shape.parameters * shape.weight_bytes, cache


def gpus_needed(
    shape: Shape, gpu: Gpu, *, batch: int, context_tokens: float, usable: float = 0.9
) -> int:
    """Cards that hold weights and KV cache in the ``usable`` share of their memory."""
    weights, cache = memory_bytes(shape, batch=batch, context_tokens=context_tokens)
    return max(1, math.ceil((weights + (cache or 0.0)) / (gpu.memory_gb * 1e9 * usable)))


def crossover_batch(gpu: Gpu, efficiency: Efficiency, weight_bytes: float = 2) -> float:
    """The batch from which arithmetic bounds a step and no longer memory (KV cache aside)."""
    operations_per_byte = (gpu.dense_fp16_tflops * 1e12 * efficiency.compute) / (
        gpu.bandwidth_gb_per_second * 1e9 * efficiency.memory
    )
    return operations_per_byte * weight_bytes / 2
