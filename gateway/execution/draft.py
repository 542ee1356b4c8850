"""The row of an attempt before it begins: what is known then, and the most that it can cost."""

from __future__ import annotations

import logging

from gateway.accounting.settle import worst_case_pico_usd
from gateway.execution.operation import Operation, new_id
from gateway.ledger.rows import AttemptRow
from gateway.registry import Target
from providers.contract import GenerateRequest

logger = logging.getLogger(__name__)


def draft(
    operation: Operation, target: Target, begun_at: float, held_seconds: float | None = None
) -> AttemptRow:
    """The row of an attempt that is about to begin; ``begun_at`` is monotonic.

    ``held_seconds``: how long it has waited here for its place; None: not at all.
    """
    order = operation.order
    begun_at_us = operation.received_at_us + round((begun_at - operation.received_at) * 1e6)
    tariff_row = None if target.tariff is None else target.tariff.at(begun_at_us)
    maximum = _most_output_tokens(target, order.request)
    row = AttemptRow(
        attempt_id=f"att_{new_id(begun_at_us)}",
        operation_id=operation.id,
        ordinal=0,  # counted when it begins: another may begin before it
        route=order.route,
        streamed=order.streamed,
        model=order.plan.model,
        deployment=target.name,
        provider=target.provider,
        provider_model=target.provider_model,
        config_revision=target.config_revision,
        begun_at_us=begun_at_us,
        operation_at_us=operation.received_at_us,
        key_id=order.key_id,
        hardware=target.hardware,
        tags=order.tags,
        max_output_tokens=maximum,
        input_tokens=target.estimator.estimate(order.input_bytes),
        input_tokens_source="estimated",
        held_seconds=None if held_seconds is None else round(held_seconds, 6),
        price=None if tariff_row is None else tariff_row.record,
        gateway_seconds=round(max(0.0, begun_at - operation.idle_since), 6),
    )
    row.reserved_pico_usd = worst_case_pico_usd(
        tariff_row,
        input_bytes=order.input_bytes,
        max_output_tokens=maximum,
        total_seconds=target.timeouts.total_seconds,
    )
    if order.trace is not None and order.trace.sampled:
        row.trace_id, row.parent_span_id = order.trace.trace_id, order.trace.parent_span_id
    if target.running:
        row.idle_before_seconds = 0.0
    elif target.last_ended_at is not None:
        row.idle_before_seconds = round(max(0.0, begun_at - target.last_ended_at), 6)
    return row


def _most_output_tokens(target: Target, request: GenerateRequest) -> int | None:
    """The most that it can make: as its caller says, or as the deployment knows by itself."""
    stated = request.parameters.max_output_tokens
    if stated is not None or target.bounded is None:
        return stated
    try:
        known = target.bounded.most_output_tokens(request)
    except Exception:
        # Without a bound money is set aside in slices, as ever.
        logger.exception("adapter of deployment %s failed to tell a bound", target.name)
        return None
    return known if type(known) is int and known > 0 else None
