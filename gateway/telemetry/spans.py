"""Spans as folds over the journal: one for each attempt, one for each operation. Pure.

Why not where the work is done: two spans, made with the SDK inline, cost 53 to 66 us of CPU a call
(1.45, exporting to nowhere), and its thread would take turns with the event loop. The rows have
every instant that a span needs, are written anyway, and are read in another process. The price:
spans come a moment later; the one of an operation that failed waits until no attempt has followed
for ``_QUIET_SECONDS``; a call that was refused before any attempt has no span but its caller's; and
what a shipper that is killed has not sent yet is lost, as its log lines are.

Attributes are OpenTelemetry's GenAI conventions and ``faas.coldstart``; what they have no word for
is ``gateway.*``. Nobody's prompt, output, key or tags are in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from gateway.ledger.phases import since_dispatch
from gateway.ledger.reports.views import usd_or_null
from gateway.ledger.shipping.fold import Batch
from gateway.telemetry.genai import operation_name, outcome
from gateway.tracing import span_id_of

Row: TypeAlias = Mapping[str, Any]
Value: TypeAlias = str | int | float | bool | tuple[str, ...]

_QUIET_SECONDS = 60.0
_MOST_OPEN = 10_000
_FINAL = frozenset({"succeeded", "cancelled", "interrupted"})


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened within a span; microseconds since the epoch."""

    name: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Span:
    """A span in nobody's library. Ids are hex, instants microseconds since the epoch."""

    name: str
    kind: Literal["server", "client"]
    trace_id: str
    span_id: str
    parent_span_id: str | None
    start_at_us: int
    end_at_us: int
    error_type: str | None
    attributes: Mapping[str, Value]
    events: tuple[SpanEvent, ...] = ()


@dataclass(slots=True)
class _Open:
    """An operation that may go on."""

    quiet_since: float
    rows: list[Row] = field(default_factory=list)
    running: set[str] = field(default_factory=set)


class SpanFold:
    """Journal lines in, spans out. ``at`` is monotonic seconds."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._told: dict[str, None] = {}  # operations whose span is out: there is no second one

    def observe(self, batch: Batch, at: float) -> Iterator[Span]:
        """The spans that a batch completes."""
        for row in batch.begun.values():
            if row["trace_id"] is not None:
                self._of(row, at).running.add(row["attempt_id"])
        for row in batch.ended.values():
            if row["trace_id"] is None or row["origin"] != "live":
                continue
            yield attempt_span(row)
            known = self._of(row, at)
            known.quiet_since = at
            known.rows.append(row)
            known.running.discard(row["attempt_id"])
            if not known.running and any(row["status"] in _FINAL for row in known.rows):
                yield from self._end(row["operation_id"])

    def due(self, at: float) -> Iterator[Span]:
        """Of operations that have failed and been quiet for long; the oldest, where many are."""
        for operation_id, known in list(self._open.items()):
            quiet = not known.running and at - known.quiet_since >= _QUIET_SECONDS
            if quiet or len(self._open) > _MOST_OPEN:
                yield from self._end(operation_id)

    def close(self) -> Iterator[Span]:
        """Of all that has ended so far."""
        for operation_id in list(self._open):
            yield from self._end(operation_id)

    def _of(self, row: Row, at: float) -> _Open:
        return self._open.setdefault(row["operation_id"], _Open(at))

    def _end(self, operation_id: str) -> Iterator[Span]:
        known = self._open.pop(operation_id)
        if known.rows and operation_id not in self._told:
            self._told[operation_id] = None
            if len(self._told) > _MOST_OPEN:
                del self._told[next(iter(self._told))]
            yield operation_span(known.rows)


def attempt_span(row: Row) -> Span:
    """One dispatch: the gateway as the provider's client."""
    operation = operation_name(row["route"])
    error_type = outcome(row["status"], row["error_type"]) or None
    return Span(
        f"{operation} {row['provider_model']}",
        "client",
        row["trace_id"],
        span_id_of(row["attempt_id"]),
        span_id_of(row["operation_id"]),
        row["begun_at_us"],
        _ended_at_us(row),
        error_type,
        _known(
            {
                **_common(row, error_type),
                "gen_ai.request.model": row["provider_model"],
                "gateway.execution.attempt.id": row["attempt_id"],
                "gateway.execution.attempt.ordinal": row["ordinal"],
                "gateway.upstream.id": row["upstream_id"],
                "gateway.hardware": row["hardware"],
                "gateway.held_seconds": row.get("held_seconds"),
                "gateway.queue_seconds": row["queue_seconds"],
                "gateway.boot_seconds": row["boot_seconds"],
                "gateway.wait_seconds": row["wait_seconds"],
                "gateway.first_output_seconds": row["first_output_seconds"],
                "gateway.execute_seconds": row["execute_seconds"],
                "gateway.overhead_seconds": row["gateway_seconds"],
                **_cost([row]),
            }
        ),
        _events(row),
    )


def operation_span(rows: list[Row]) -> Span:
    """One call of a caller's, with all its attempts; what the last one came to is its end."""
    last = max(rows, key=lambda row: (row["status"] == "succeeded", row["ordinal"]))
    operation = operation_name(last["route"])
    error_type = outcome(last["status"], last["error_type"]) or None
    return Span(
        f"{operation} {last['model']}",
        "server",
        last["trace_id"],
        span_id_of(last["operation_id"]),
        last["parent_span_id"],
        last["operation_at_us"],
        max(map(_ended_at_us, rows)),
        error_type,
        _known(
            {
                **_common(last, error_type),
                "gen_ai.request.model": last["model"],
                "gateway.attempts": len(rows),
                **_cost(rows),
            }
        ),
    )


def _common(row: Row, error_type: str | None) -> dict[str, Value | None]:
    reason, verdict = row["finish_reason"], row["verdict"]
    counted = {row["input_tokens_source"], row["output_tokens_source"]} - {None}
    return {
        "gen_ai.operation.name": operation_name(row["route"]),
        "gen_ai.provider.name": row["provider"],
        "gen_ai.request.max_tokens": row["max_output_tokens"],
        "gen_ai.response.finish_reasons": None if reason is None else (reason,),
        "gen_ai.usage.input_tokens": row["input_tokens"],
        "gen_ai.usage.output_tokens": row["output_tokens"],
        "gen_ai.usage.cache_read.input_tokens": row["cached_input_tokens"],
        "gen_ai.usage.reasoning.output_tokens": row["reasoning_tokens"],
        "gateway.usage.source": "mixed" if len(counted) > 1 else next(iter(counted), None),
        "error.type": error_type,
        "faas.coldstart": None if verdict == "unknown" else verdict == "cold",
        "gateway.cold_start.evidence": row["evidence"],
        "gateway.cold_start.caused_boot": row["caused_boot"],
        "gateway.execution.operation.id": row["operation_id"],
        "gateway.model": row["model"],
        "gateway.deployment": row["deployment"],
        "gateway.status": row["status"],
        "gateway.streamed": row["streamed"],
    }


def _cost(rows: list[Row]) -> dict[str, Value | None]:
    """As text in USD, and as whole pico-dollars, which backends can add up. Unknown is not 0."""
    costs = [row["cost_pico_usd"] for row in rows]
    pico_usd = None if None in costs else sum(costs)
    statuses = {row["cost_status"] for row in rows}
    worst = next(s for s in ("unknown", "estimated", "measured") if s in statuses)
    return {
        "gateway.cost.usd": usd_or_null(pico_usd),
        "gateway.cost.pico_usd": pico_usd,
        "gateway.cost.status": worst,
    }


def _events(row: Row) -> tuple[SpanEvent, ...]:
    """The phases, each at its begin, as the row's seconds tell them.

    Seconds that a provider accounts for itself are laid one after the other from the dispatch on.
    """
    queue = row["queue_seconds"]
    boot, wait = since_dispatch(
        row.get("held_seconds"),
        row["verdict"],
        row["caused_boot"],
        row["boot_seconds"],
        row["wait_seconds"],
    )
    before_boot = queue or 0.0 if wait is None or boot is None else wait - boot
    begins = {
        "queued": None if queue is None else before_boot - queue,
        "booting": None if boot is None else before_boot,
        "started": wait,
        "first_output": row["first_output_seconds"],
    }
    if queue is not None and boot is None and wait is not None:
        begins["queued"] = wait - queue
    since_us, end_us = row["begun_at_us"], _ended_at_us(row)
    found = [
        SpanEvent(name, min(end_us, since_us + max(0, round(seconds * 1e6))))
        for name, seconds in begins.items()
        if seconds is not None
    ]
    if row["status"] == "succeeded":
        found.append(SpanEvent("finished", end_us))
    return tuple(sorted(found, key=lambda event: event.at_us))


def _ended_at_us(row: Row) -> int:
    ended_at_us: int | None = row["completed_at_us"]
    return int(row["begun_at_us"]) if ended_at_us is None else ended_at_us


def _known(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}
