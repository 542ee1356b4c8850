"""Attempts that agree in all labels, counted together. Pure; what the shipper does most often."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from gateway.telemetry.definitions import BY_NAME

_COUNTED = frozenset({"reported", "counted"})


def _bounds(*names: str) -> tuple[float, ...]:
    """Where values are told apart, so that each of these metrics can be told from them."""
    return tuple(sorted({float(bound) for name in names for bound in BY_NAME[name].buckets}))


_FIRST = _bounds(
    "gateway_first_output_seconds",
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "gen_ai_server_time_to_first_token_seconds",
)
_TOTAL = _bounds(
    "gateway_total_seconds",
    "gen_ai_client_operation_duration_seconds",
    "gen_ai_server_request_duration_seconds",
)
_OVERHEAD = _bounds("gateway_overhead_seconds")
_WAIT = _bounds("gateway_boot_seconds", "gateway_cold_start_seconds")
_TOKENS = _bounds("gen_ai_client_token_usage")
_EACH_TOKEN = _bounds("gen_ai_server_time_per_output_token_seconds")


class Key(NamedTuple):
    """What the attempts of a kind have in common."""

    provider: str
    deployment: str
    model: str
    route: str
    status: str
    error_type: str
    cost_status: str
    input_source: str | None
    output_source: str | None
    verdict: str
    evidence: str
    caused_boot: bool | None


class Spread:
    """How values lie between bounds, and their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: tuple[float, ...], counts: list[int], total: float) -> None:
        self._bounds = bounds
        self._counts = counts
        self.sum = total

    def __add__(self, other: Spread) -> Spread:
        counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]
        return Spread(self._bounds, counts, self.sum + other.sum)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self, bounds: Sequence[float]) -> list[tuple[str, float]]:
        """Upper bounds, some of ours, with how many values lie at or under them."""
        under = dict(zip((*self._bounds, float("inf")), accumulate(self._counts), strict=True))
        found = [(str(float(bound)), float(under[float(bound)])) for bound in bounds]
        return [*found, ("+Inf", float(under[float("inf")]))]


class Kind:
    """Counts and seconds of one kind; None where none of its attempts had such a value."""

    __slots__ = (
        *("attempts", "priced", "cost_pico_usd", "input_tokens", "output_tokens"),
        *("first_output", "first_chunk", "total", "overhead", "queue", "boot", "wait"),
        *("operation", "first_token", "each_token", "input_usage", "output_usage"),
    )

    def __init__(self) -> None:
        self.attempts = self.priced = self.cost_pico_usd = 0
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.first_output: Spread | None = None
        self.first_chunk: Spread | None = None
        self.total: Spread | None = None
        self.overhead: Spread | None = None
        self.queue: Spread | None = None
        self.boot: Spread | None = None
        self.wait: Spread | None = None
        self.operation: Spread | None = None
        self.first_token: Spread | None = None
        self.each_token: Spread | None = None
        self.input_usage: Spread | None = None
        self.output_usage: Spread | None = None

    def observe(self, row: Mapping[str, Any]) -> None:
        """Count one finished attempt of this kind."""
        self.attempts += 1
        if (cost_pico_usd := row["cost_pico_usd"]) is not None:
            self.cost_pico_usd += cost_pico_usd
            self.priced += 1
        if (tokens_in := row["input_tokens"]) is not None:
            self.input_tokens = (self.input_tokens or 0) + tokens_in
        if (tokens_out := row["output_tokens"]) is not None:
            self.output_tokens = (self.output_tokens or 0) + tokens_out
        if (total := row["total_seconds"]) is not None:
            self.total = _with(self.total, _TOTAL, total)
        if (first_output := row["first_output_seconds"]) is not None:
            self.first_output = _with(self.first_output, _FIRST, first_output)
        if (overhead := row["gateway_seconds"]) is not None:
            self.overhead = _with(self.overhead, _OVERHEAD, overhead)
        if row["verdict"] == "cold" or row["caused_boot"]:
            self._wait(row)
        counted = (
            tokens_in is not None
            and tokens_out is not None
            and row["input_tokens_source"] in _COUNTED
            and row["output_tokens_source"] in _COUNTED
        )
        if counted:
            self.input_usage = _with(self.input_usage, _TOKENS, tokens_in)
            self.output_usage = _with(self.output_usage, _TOKENS, tokens_out)
        if row["status"] == "succeeded" and (ended_at_us := row["completed_at_us"]) is not None:
            whole = max(0.0, (ended_at_us - row["operation_at_us"]) / 1e6)
            self.operation = _with(self.operation, _TOTAL, whole)
        if row["streamed"] and first_output is not None:
            self._stream(row, first_output, tokens_out if counted else None)

    def _wait(self, row: Mapping[str, Any]) -> None:
        if row["status"] == "lost_hedge":
            return  # it saw a part of its boot, and nobody waited for it
        queue, boot, wait = row["queue_seconds"], row["boot_seconds"], row["wait_seconds"]
        if queue is not None:
            self.queue = _with(self.queue, _WAIT, queue)
        if boot is not None:
            self.boot = _with(self.boot, _WAIT, boot)
        if wait is not None and queue is None and boot is None:
            self.wait = _with(self.wait, _WAIT, wait)

    def _stream(self, row: Mapping[str, Any], first_output: float, tokens: int | None) -> None:
        self.first_chunk = _with(self.first_chunk, _FIRST, first_output)
        if row["status"] != "succeeded":
            return
        before = max(0.0, (row["begun_at_us"] - row["operation_at_us"]) / 1e6)
        self.first_token = _with(self.first_token, _FIRST, before + first_output)
        total = row["total_seconds"]
        if tokens is not None and tokens > 1 and total is not None:
            each = max(0.0, total - first_output) / (tokens - 1)
            self.each_token = _with(self.each_token, _EACH_TOKEN, each)


def _with(spread: Spread | None, bounds: tuple[float, ...], value: float) -> Spread:
    if spread is None:
        spread = Spread(bounds, [0] * (len(bounds) + 1), 0.0)
    spread.observe(value)
    return spread
