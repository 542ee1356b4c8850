"""What a provider says about a job after its attempt was booked, by the accounting of a live one.

Its word takes the place of what was estimated, or seen by our own clock; where it says nothing,
what was booked stays. How the attempt ended for its caller stays in any case.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from gateway.accounting.metering import TokenEstimator, believable
from gateway.accounting.prices import PriceRow
from gateway.accounting.settle import Observed, settle
from gateway.accounting.timeline import Timeline
from gateway.ledger.rows import AttemptRow
from providers.contract import JobReport, Phases, Started, Usage

_MONEY = (
    *("cost_status", "cost_pico_usd", "known_pico_usd", "low_pico_usd", "high_pico_usd"),
    *("cost_lines", "pending"),
)
_TOKENS = {  # column -> the columns that say more about it
    "input_tokens": ("input_tokens_source",),
    "output_tokens": ("output_tokens_source",),
    "cached_input_tokens": (),
    "reasoning_tokens": (),
    "images": (),
}
_PHASES = ("queue_seconds", "boot_seconds", "wait_seconds", "execute_seconds")
_OURS = ("first_output_seconds", "total_seconds")


def settle_later(row: AttemptRow, report: JobReport) -> dict[str, Any]:
    """The columns of a booked attempt that the provider's later word changes, with their values.

    ``report`` is of a job that has ended. Raises what ``settle`` raises on figures that cannot be
    computed with.
    """
    usage = believable(report.usage or (report.failure and report.failure.usage) or None)
    phases = _known_phases(row, report.phases or Phases())
    tariff_row = None if row.price is None else PriceRow.model_validate(row.price)
    spends = report.failure is None or report.failure.spends
    timeline = Timeline(0.0)
    if phases.execute_seconds:
        timeline.observe(Started(), 0.0)
    timeline.end(0.0, phases)
    seen = Observed(timeline, usage, complete=report.status == "succeeded", spends=spends)
    new = replace(row)
    settle(new, seen, tariff_row, TokenEstimator())
    kept = [*_OURS, *(name for name in _PHASES if getattr(phases, name) is None)]
    for name, more in _TOKENS.items():
        if usage is None or getattr(usage, name) is None:
            kept += [name, *more]
    if not _prices(tariff_row, usage, phases, spends):
        kept += _MONEY
    return {
        column.name: getattr(new, column.name)
        for column in fields(AttemptRow)
        if column.name not in kept and getattr(new, column.name) != getattr(row, column.name)
    }


def _known_phases(row: AttemptRow, said: Phases) -> Phases:
    """The provider's account, completed by the attempt's own. A boot that was seen stays seen."""
    if said.queue_seconds is None and said.boot_seconds is None and said.wait_seconds is None:
        said = replace(
            said,
            queue_seconds=row.queue_seconds,
            boot_seconds=row.boot_seconds,
            wait_seconds=row.wait_seconds,
        )
    if row.evidence is None or (said.evidence is not None and row.verdict != "cold"):
        return said
    caused_boot = row.caused_boot if said.caused_boot is None else said.caused_boot
    return replace(
        said,
        evidence=row.evidence,  # type: ignore[arg-type]  # it was one when it was written
        waited_for_boot={"cold": True, "warm": False}.get(row.verdict),
        caused_boot=caused_boot,
    )


def _prices(tariff_row: PriceRow | None, usage: Usage | None, phases: Phases, spends: bool) -> bool:
    """Whether enough was said to put the price on it; else what was booked is the better word."""
    if usage is not None and usage.cost_usd is not None:
        return True
    if not spends and not phases.execute_seconds:
        return True
    if tariff_row is None or tariff_row.shared:  # whose second it was is known only while it runs
        return False
    needed = (
        (tariff_row.usd_per_million_input_tokens, usage and usage.input_tokens),
        (tariff_row.usd_per_million_output_tokens, usage and usage.output_tokens),
        (tariff_row.usd_per_image, usage and usage.images),
    )
    if any(rate is not None and count is None for rate, count in needed):
        return False
    works = tariff_row.usd_per_second is not None and "execute" in tariff_row.bills
    return not works or phases.execute_seconds is not None
