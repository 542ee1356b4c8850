"""The last fold: from what an attempt did to the row that is kept for ever."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.accounting.boot_shares import Carried
from gateway.accounting.coldstart import ColdStart, classify
from gateway.accounting.lines import Line
from gateway.accounting.metering import (
    NOTHING,
    TEMPLATE_TOKENS,
    Count,
    Metered,
    TokenEstimator,
    meter,
)
from gateway.accounting.prices import PriceRow
from gateway.accounting.pricing import Billable, Cost, Seconds, highest_usd, price
from gateway.accounting.timeline import Timeline
from gateway.ledger.rows import AttemptRow
from providers.contract import Usage

_NO_TOKENS = Count(0, "counted", 0, 0)
_NOT_SENT = Metered(_NO_TOKENS, _NO_TOKENS, images=0)
_WORDS = ("finish_reason", "upstream_id", "upstream_revision", "instance_id")
_FIGURES = (
    *("verdict", "evidence", "caused_boot"),
    *("queue_seconds", "boot_seconds", "wait_seconds", "first_output_seconds"),
    *("execute_seconds", "total_seconds"),
    *("input_tokens", "input_tokens_source", "output_tokens", "output_tokens_source"),
    *("cached_input_tokens", "reasoning_tokens", "images"),
    *("cost_status", "cost_pico_usd", "known_pico_usd", "low_pico_usd", "high_pico_usd"),
    *("cost_lines", "pending"),
)


@dataclass(slots=True)
class Observed:
    """What execution saw of one attempt.

    ``complete``: the answer came to its end. ``spends`` is false where the provider refused before
    any work. ``share_seconds`` is the attempt's share of a machine that ran others as well,
    ``boot_limit_seconds`` the longest that a boot may take. ``goes_on_seconds``: the provider may
    work on, and bill, although nobody waits any more; at most so long from the attempt's begin.
    ``sent`` is false where nothing but a boot was asked for; ``boot_left_seconds``: how much longer
    that was expected to take when it was called off; ``boot_ended``: it ended then.
    ``unsaid_seconds``: it bills by an account of its own and has not given it; no attempt is billed
    for more than so long. ``boots`` tells what others do not carry of a boot.
    """

    timeline: Timeline
    usage: Usage | None = None
    input_bytes: int = 0
    output_bytes: int = 0
    images: int = 0
    complete: bool = False
    spends: bool = True
    sent: bool = True
    share_seconds: float | None = None
    boot_limit_seconds: float | None = None
    boot_left_seconds: float | None = None
    boot_ended: bool = False
    goes_on_seconds: float | None = None
    unsaid_seconds: float | None = None
    boots: Carried | None = None


def settle(
    row: AttemptRow, seen: Observed, tariff_row: PriceRow | None, estimator: TokenEstimator
) -> None:
    """Fill in seconds, verdict, counts and cost of an attempt that has ended."""
    timeline = seen.timeline
    cold = classify(timeline)
    row.verdict, row.evidence, row.caused_boot = cold.verdict, cold.evidence, cold.caused_boot
    row.queue_seconds = _micro(timeline.queue_seconds)
    row.boot_seconds = _micro(timeline.boot_seconds)
    row.wait_seconds = _micro(timeline.wait_seconds)
    row.first_output_seconds = _micro(timeline.first_output_seconds)
    row.execute_seconds = _micro(timeline.execute_seconds)
    row.total_seconds = _micro(timeline.total_seconds)
    if timeline.started is not None and timeline.started.instance_id is not None:
        row.instance_id = timeline.started.instance_id
    if timeline.phases is not None:
        row.instance_id = timeline.phases.instance_id or row.instance_id
        row.upstream_revision = timeline.phases.revision or row.upstream_revision

    if not seen.sent and seen.spends:
        metered = _NOT_SENT
        _count(row, metered)
    elif seen.spends or seen.usage is not None or timeline.has_output:
        metered = meter(
            seen.usage,
            input_bytes=seen.input_bytes,
            output_bytes=seen.output_bytes,
            images=seen.images,
            max_output_tokens=row.max_output_tokens,
            complete=seen.complete,
            estimator=estimator,
        )
        _count(row, metered)
    else:
        metered = NOTHING
    if not seen.spends and not timeline.work_began:
        _book(row, Cost("measured", Decimal(0), Decimal(0), Decimal(0), Decimal(0), ()))
        return
    execute = row.execute_seconds if seen.share_seconds is None else seen.share_seconds
    used = Billable(
        metered,
        execute=_billed_work(seen, execute),
        boot=_billed_boot(seen, row, cold),
        queue=None if row.queue_seconds is None else Seconds(row.queue_seconds),
        reported_cost_usd=seen.usage.cost_usd if seen.usage is not None else None,
    )
    _book(row, price(tariff_row, used))


def _billed_work(seen: Observed, execute_seconds: float | None) -> Seconds | None:
    """Work as far as it was seen, and as far as it may have gone on unseen."""
    if execute_seconds is None:
        return None
    if seen.unsaid_seconds is not None:
        return Seconds(execute_seconds, 0.0, max(execute_seconds, seen.unsaid_seconds))
    if seen.goes_on_seconds is None or seen.complete:
        return Seconds(execute_seconds)
    # Of a job whose begin nobody saw, even the seconds that we waited may not have been worked.
    low = execute_seconds if seen.timeline.work_began else 0.0
    return Seconds(execute_seconds, low, max(execute_seconds, seen.goes_on_seconds))


def _billed_boot(seen: Observed, row: AttemptRow, cold: ColdStart) -> Seconds | None:
    """The boot that is this attempt's to pay, where its price bills boots.

    Of a wait that the provider does not divide, anything may have been a boot. A boot that the
    attempt did not wait out may go on, and bill, until it is over or given up. One that was called
    off for another most likely does, to its end, unless its provider ends boots, as the local
    engine's supervisor does: then what was waited, to the end of the process, is what it took. (An
    endpoint of Hugging Face is billed while initializing and running, until it scales to zero,
    huggingface.co/docs/inference-endpoints, read 2026-08-20; a replica of Banana's was billed from
    its boot to the end of its idle time, by docs.banana.dev/resources/billing.) One that nobody
    says was caused by this attempt may have been caused by anybody: it can cost nothing, and what
    other attempts carry of it is not carried again.
    """
    if cold.caused_boot is False:
        return None
    timeline, waited = seen.timeline, row.boot_seconds
    if seen.unsaid_seconds is not None:
        waited = (row.wait_seconds if waited is None else waited) or 0.0
        return Seconds(waited, 0.0, max(waited, seen.unsaid_seconds))
    if waited is None and timeline.phases is not None:
        waited = _micro(timeline.phases.wait_seconds)
        if waited is None:
            return None
    elif waited is None:
        return None
    elif (
        timeline.booting is not None
        and not timeline.work_began
        and not seen.boot_ended
        and seen.boot_limit_seconds
    ):
        low = waited if cold.caused_boot else 0.0
        most = max(waited, seen.boot_limit_seconds)
        return Seconds(min(most, waited + (seen.boot_left_seconds or 0.0)), low, most)
    carried = waited
    if seen.boots is not None and waited:
        carried = round(seen.boots(row.instance_id, waited, timeline.waited_until), 6)
    if cold.caused_boot:
        return Seconds(waited)  # others, who were booked before it, have an estimate from 0
    return None if waited and not carried else Seconds(carried, 0.0, carried)


def settle_unknown(row: AttemptRow, *, words: bool = False) -> None:
    """Take back what ``settle`` may have filled in: nothing is known, least of all the cost.

    For figures of an adapter that cannot be computed with; ``words`` takes back its texts too,
    where the row cannot even be written down.
    """
    blank = AttemptRow("", "", 0, "", False, "", "", "", "", "", 0, 0)
    for name in (*_FIGURES, *_WORDS) if words else _FIGURES:
        setattr(row, name, getattr(blank, name))


def worst_case_pico_usd(
    tariff_row: PriceRow | None,
    *,
    input_bytes: int,
    max_output_tokens: int | None,
    total_seconds: float,
) -> int | None:
    """The most that an attempt can cost, in pico-USD; None where nothing bounds it."""
    if tariff_row is None:
        return None
    high = highest_usd(
        tariff_row,
        input_tokens=input_bytes + TEMPLATE_TOKENS,
        output_tokens=max_output_tokens,
        seconds=total_seconds,
    )
    return None if high is None else pico(high)


def settle_interrupted(
    row: AttemptRow,
    *,
    now_us: int,
    last_seen_us: int,
    total_seconds: float,
    ended_by_us: int | None = None,
) -> AttemptRow:
    """Close an attempt whose gateway died: status ``interrupted`` and a bounded cost.

    ``last_seen_us`` is the last sign of life of that gateway: the estimate counts seconds up to
    it. The bound is the attempt's deadline, whatever the time is now: a provider may go on after
    the restart as well. ``ended_by_us``: it did not, and had ended by then. Output tokens
    cannot be guessed; the bound has room for all that were asked for.
    """
    row.status = "interrupted"
    row.error_type = "Interrupted"
    row.completed_at_us = max(row.begun_at_us, min(now_us, last_seen_us))
    lived = min((row.completed_at_us - row.begun_at_us) / 1e6, total_seconds)
    row.total_seconds = lived
    tariff_row = None if row.price is None else PriceRow.model_validate(row.price)
    known_input = row.input_tokens or 0
    tokens = Metered(
        Count(known_input, "estimated", 0, None),
        Count(0, "estimated", 0, row.max_output_tokens),
    )
    most_seconds = total_seconds
    if ended_by_us is not None:
        most_seconds = min(most_seconds, max(lived, (ended_by_us - row.begun_at_us) / 1e6))
    seconds = Seconds(lived, 0.0, most_seconds)
    # They were spent once, in whichever phase; a price that is not for work is for waiting.
    if tariff_row is None or "execute" in tariff_row.bills:
        used = Billable(tokens, execute=seconds)
    elif "boot" in tariff_row.bills:
        used = Billable(tokens, boot=seconds)
    else:
        used = Billable(tokens, queue=seconds)
    cost = price(tariff_row, used)
    _book(row, cost)
    if row.cost_status != "unknown":
        row.cost_status, row.low_pico_usd = "estimated", 0
        if row.high_pico_usd is None and _bounded(tariff_row, row.max_output_tokens):
            row.high_pico_usd = row.reserved_pico_usd
    return row


def _bounded(tariff_row: PriceRow | None, max_output_tokens: int | None) -> bool:
    """Whether what was set aside was the worst case, and no slice of something open."""
    if tariff_row is None:
        return False
    most = highest_usd(tariff_row, input_tokens=0, output_tokens=max_output_tokens, seconds=0.0)
    return most is not None


def _count(row: AttemptRow, metered: Metered) -> None:
    if metered.input_tokens is not None:
        row.input_tokens = metered.input_tokens.value
        row.input_tokens_source = metered.input_tokens.source
    if metered.output_tokens is not None:
        row.output_tokens = metered.output_tokens.value
        row.output_tokens_source = metered.output_tokens.source
    if metered.cached_input_tokens is not None:
        row.cached_input_tokens = metered.cached_input_tokens.value
    row.reasoning_tokens = metered.reasoning_tokens
    row.images = metered.images


def booked(cost: Cost) -> dict[str, Any]:
    """The columns of an attempt that a cost fills."""
    return {
        "cost_status": cost.status,
        "cost_pico_usd": None if cost.total_usd is None else pico(cost.total_usd),
        "known_pico_usd": pico(cost.known_usd),
        "low_pico_usd": pico(cost.low_usd),
        "high_pico_usd": None if cost.high_usd is None else pico(cost.high_usd),
        "cost_lines": [_line(line) for line in cost.lines],
        "pending": list(cost.pending),
    }


def _book(row: AttemptRow, cost: Cost) -> None:
    for name, value in booked(cost).items():
        setattr(row, name, value)


def _line(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "quantity": plain(line.quantity),
        "unit_price_usd": plain(line.unit_price_usd),
        "usd": plain(line.usd),
        "price_id": line.price_id,
        "status": line.status,
    }


def _micro(seconds: float | None) -> float | None:
    """Microseconds are what the clocks are good for, and what a cost line quotes."""
    return None if seconds is None else round(seconds, 6)


def plain(number: Decimal | None) -> str | None:
    """A decimal without exponent and without trailing zeros: ``0.000062``, ``12``, ``0``."""
    if number is None:
        return None
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def pico(usd: Decimal) -> int:
    """USD as whole pico-USD. Raises OverflowError beyond what a database's 64 bits hold: 9.2
    million USD.
    """
    pico_usd = int(usd.scaleb(12))
    if abs(pico_usd) >= 1 << 63:
        raise OverflowError("a cost is too large for the ledger")
    return pico_usd
