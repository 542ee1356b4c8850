"""One model on one kind of card: seconds, memory, dollars, each with the range it lies in.

Everything here is ``estimated``. ``low`` and ``high`` come from the ranges of the assumptions that
nobody set: an assumption that is given has no range, because whoever gave it answers for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any

from gateway.estimates import roofline
from gateway.estimates.roofline import Efficiency
from gateway.estimates.tables import Gpu, Shape

USUAL = Efficiency()
BEST = Efficiency(memory=0.85, compute=0.7, overhead_seconds=0.0)
WORST = Efficiency(memory=0.45, compute=0.3, overhead_seconds=0.005)
DAYS_PER_MONTH = Decimal(30)
_DIGITS = Context(prec=3)  # no estimate is better than that


@dataclass(frozen=True, slots=True)
class Rate:
    """What one card costs for an hour, and who says so."""

    usd_per_gpu_hour: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. Efficiencies None: the usual value, and its range around it.

    ``gpus`` None: as many as hold the model. ``utilisation`` is the share of paid seconds in which
    the cards work.
    """

    shape: Shape
    gpu: Gpu
    gpus: int | None = None
    batch: int = 1
    input_tokens: int = 600
    output_tokens: int = 200
    memory_efficiency: float | None = None
    compute_efficiency: float | None = None
    overhead_seconds: float | None = None
    rate: Rate | None = None
    requests_per_day: Decimal | None = None
    utilisation: float = 1.0


def efficiencies(
    memory: float | None, compute: float | None, overhead_seconds: float | None
) -> tuple[Efficiency, Efficiency, Efficiency]:
    """The value that is reckoned with, the best and the worst that it may be."""
    usual, best, worst = (
        replace(
            given,
            memory=given.memory if memory is None else memory,
            compute=given.compute if compute is None else compute,
            overhead_seconds=(
                given.overhead_seconds if overhead_seconds is None else overhead_seconds
            ),
        )
        for given in (USUAL, BEST, WORST)
    )
    return usual, best, worst


def estimate(asked: Question) -> dict[str, Any]:
    """The answer, ready for JSON; ``cost`` is null where no rate was named."""
    shape, gpu, batch = asked.shape, asked.gpu, asked.batch
    context = asked.input_tokens + asked.output_tokens
    needed = roofline.gpus_needed(shape, gpu, batch=batch, context_tokens=context)
    count = asked.gpus or needed
    usual, best, worst = efficiencies(
        asked.memory_efficiency, asked.compute_efficiency, asked.overhead_seconds
    )

    def ranged(of: Callable[[Efficiency], float]) -> dict[str, Any]:
        ends = sorted((of(best), of(worst)))
        found = {"value": of(usual), "low": ends[0], "high": ends[1]}
        return {**{name: float(f"{x:.3g}") for name, x in found.items()}, "status": "estimated"}

    def step(at: Efficiency) -> roofline.Step:
        middle = asked.input_tokens + asked.output_tokens / 2
        return roofline.decode(
            shape, gpu, gpus=count, batch=batch, context_tokens=middle, efficiency=at
        )

    def request(at: Efficiency) -> tuple[float, float]:
        return roofline.request_seconds(
            shape,
            gpu,
            gpus=count,
            batch=batch,
            input_tokens=asked.input_tokens,
            output_tokens=asked.output_tokens,
            efficiency=at,
        )

    weights, cache = roofline.memory_bytes(shape, batch=batch, context_tokens=context)
    taken = step(usual)
    crossover = roofline.crossover_batch(gpu, usual, shape.weight_bytes)
    return {
        "model": shape.name,
        "parameters": shape.parameters,
        "hardware": {
            "gpu": gpu.name,
            "gpus": count,
            "gpus_needed": needed,
            "fits": count >= needed,
        },
        "batch": batch,
        "input_tokens": asked.input_tokens,
        "output_tokens": asked.output_tokens,
        "memory": {
            "weights_bytes": round(weights),
            "kv_bytes_per_token": (
                None if shape.kv_bytes_per_token is None else round(shape.kv_bytes_per_token)
            ),
            "kv_cache_bytes": None if cache is None else round(cache),
            "gpu_bytes": round(count * gpu.memory_gb * 1e9),
        },
        "regime": taken.regime,
        "why": _why(taken, batch, crossover),
        "seconds_per_token": ranged(lambda at: step(at).seconds),
        "tokens_per_second_each": ranged(lambda at: 1 / step(at).seconds),
        "tokens_per_second": ranged(lambda at: batch / step(at).seconds),
        "prefill_seconds": ranged(lambda at: request(at)[0]),
        "decode_seconds": ranged(lambda at: request(at)[1]),
        "request_seconds": ranged(lambda at: sum(request(at))),
        "cost": _cost(asked, count, lambda at: step(at).seconds, lambda at: sum(request(at))),
        "assumptions": _assumptions(asked, usual, best, worst),
        "doubts": _doubts(asked, count, needed),
    }


def _cost(
    asked: Question,
    count: int,
    step_seconds: Callable[[Efficiency], float],
    request_seconds: Callable[[Efficiency], float],
) -> dict[str, Any] | None:
    rate = asked.rate
    if rate is None:
        return None
    ends = efficiencies(asked.memory_efficiency, asked.compute_efficiency, asked.overhead_seconds)
    usd_per_second = rate.usd_per_gpu_hour * count / 3600
    share = Decimal(str(asked.utilisation)) * asked.batch

    def usd(seconds: Callable[[Efficiency], float], times: Decimal = Decimal(1)) -> dict[str, str]:
        value, *rest = (Decimal(repr(seconds(at))) * usd_per_second / share * times for at in ends)
        low, high = sorted(rest)
        found = {"value": value, "low": low, "high": high}
        return {
            **{name: plain(_DIGITS.plus(amount)) for name, amount in found.items()},
            "status": "estimated",
        }

    tokens = asked.input_tokens + asked.output_tokens
    daily = asked.requests_per_day
    return {
        "usd_per_gpu_hour": plain(rate.usd_per_gpu_hour),
        "source": rate.source,
        "usd_per_output_token": usd(step_seconds),
        "usd_per_million_output_tokens": usd(step_seconds, Decimal(1_000_000)),
        "usd_per_million_tokens": usd(request_seconds, Decimal(1_000_000) / tokens),
        "usd_per_request": usd(request_seconds),
        "requests_per_day": None if daily is None else plain(daily),
        "busy_gpus": (
            None
            if daily is None
            else float(
                f"{float(daily) / 86400 * request_seconds(ends[0]) * count / asked.batch:.3g}"
            )
        ),
        "usd_per_day": None if daily is None else usd(request_seconds, daily),
        "usd_per_month": None if daily is None else usd(request_seconds, daily * DAYS_PER_MONTH),
    }


def plain(number: Decimal) -> str:
    """Without exponent and trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _why(step: roofline.Step, batch: int, crossover: float) -> str:
    parts = (
        f"reading memory {step.memory_seconds * 1e3:.3g} ms, "
        f"arithmetic {step.compute_seconds * 1e3:.3g} ms, "
        f"overhead {step.overhead_seconds * 1e3:.3g} ms a step"
    )
    match step.regime:
        case "memory":
            more = f"a batch of up to about {crossover:.0f} comes at nearly the same time a step"
        case "compute":
            more = f"a batch of {batch} lies above the crossover at about {crossover:.0f}"
        case _:
            more = "the model is too small for the card: software takes longer than the work"
    return f"{parts}; {more}"


def _assumptions(
    asked: Question, usual: Efficiency, best: Efficiency, worst: Efficiency
) -> list[dict[str, Any]]:
    def line(name: str, given: object, value: float, low: float, high: float) -> dict[str, Any]:
        return {
            "name": name,
            "value": value,
            "low": min(low, high),
            "high": max(low, high),
            "from": "default" if given is None else "given",
        }

    return [
        line("memory_efficiency", asked.memory_efficiency, usual.memory, worst.memory, best.memory),
        line(
            "compute_efficiency",
            asked.compute_efficiency,
            usual.compute,
            worst.compute,
            best.compute,
        ),
        line(
            "overhead_seconds",
            asked.overhead_seconds,
            usual.overhead_seconds,
            best.overhead_seconds,
            worst.overhead_seconds,
        ),
        line(
            "utilisation",
            None if asked.utilisation == 1 else asked.utilisation,
            *(asked.utilisation,) * 3,
        ),
    ]


def _doubts(asked: Question, count: int, needed: int) -> list[str]:
    found = []
    if count < needed:
        found.append(
            f"It does not fit: {needed} x {asked.gpu.name} hold weights and KV cache, not {count}."
        )
    if asked.shape.kv_bytes_per_token is None:
        found.append("The KV cache is not known (layers, heads): memory and reading leave it out.")
    if count > 1:
        found.append("Several cards are taken to share the work without loss; they never do.")
    if asked.rate is None:
        found.append("No rate was named, so the cost is unknown: --price NAME or --usd-per-hour.")
    elif asked.utilisation == 1:
        found.append(
            "The cards are taken to work in every second that is paid for; "
            "--utilisation 0.2 makes every figure five times as high."
        )
    return found
