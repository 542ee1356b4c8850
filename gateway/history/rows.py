"""From a provider's word about a job of the past to a row of the ledger. Pure.

The accounting is that of a live attempt. All instants and seconds of an imported row are the
provider's own; what went through no gateway has no first output and no gateway seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.accounting.later import settle_later
from gateway.accounting.prices import Tariff
from gateway.ledger.rows import AttemptRow, AttemptStatus
from providers.contract import JobReport

ROUTE = "imported"
_YEARS = range(2010, 2100)
_STATUSES: Mapping[str, AttemptStatus] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Place:
    """What a job is booked under: the deployment, the public model, and what it costs there."""

    deployment: str
    model: str
    tariff: Tariff | None = None
    hardware: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """How the jobs of one provider are booked.

    ``places``: by the provider's own name of a model; ``everything``: for all others. What is in
    neither is booked under the provider's own names, without a price.
    """

    provider: str
    config_revision: str
    places: Mapping[str, Place] = field(default_factory=dict)
    everything: Place | None = None
    tariff: Tariff | None = None
    deployment_tariff: Tariff | None = None
    hardware: str | None = None

    def place_of(self, report: JobReport) -> Place:
        """Where a job belongs."""
        for name in (report.deployment, report.model):
            if name is not None and name in self.places:
                return self.places[name]
        if self.everything is not None:
            return self.everything
        name = report.model or report.deployment or "unknown"
        tariff = self.tariff if report.deployment is None else self.deployment_tariff
        return Place(report.deployment or name, name, tariff, self.hardware)


def imported(report: JobReport, rules: Rules) -> AttemptRow | None:
    """The row of a job that has ended; None: it has not, or nobody knows when it was made. A year
    in which there was no such job is no knowledge either.

    Its id follows from provider, job and time alone, so that a job is one row however often it is
    imported. Raises what the accounting raises on figures that cannot be computed with.
    """
    status = _STATUSES.get(report.status)
    if status is None or report.created_at is None or report.created_at.year not in _YEARS:
        return None
    begun_at_us = _micros(report.created_at)
    key = hashlib.sha256(f"{rules.provider}\n{report.job_id}".encode()).hexdigest()
    name = f"{begun_at_us:014x}{key[:8]}"
    place = rules.place_of(report)
    price = None if place.tariff is None else place.tariff.at(begun_at_us)
    row = AttemptRow(
        attempt_id=f"att_{name}",
        operation_id=f"gen_{name}",
        ordinal=0,
        route=ROUTE,
        streamed=False,
        model=place.model,
        deployment=place.deployment,
        provider=rules.provider,
        provider_model=report.model or place.model,
        config_revision=rules.config_revision,
        begun_at_us=begun_at_us,
        operation_at_us=begun_at_us,
        origin="imported",
        status=status,
        hardware=place.hardware,
        upstream_id=report.job_id,
        error_type=None if report.failure is None else type(report.failure).__name__,
        price=None if price is None else price.record,
    )
    if report.completed_at is not None:
        row.completed_at_us = max(begun_at_us, _micros(report.completed_at))
        row.total_seconds = (row.completed_at_us - begun_at_us) / 1e6
    # Idle time of the past is nobody's to book: a charge that never comes is not pending.
    row = replace(row, **{**settle_later(row, report), "pending": []})
    if row.cost_status == "unknown" and not row.cost_lines:
        kind = "unpriced" if price is None else "unmeasured"
        row.cost_lines = [
            {
                "kind": kind,
                "quantity": None,
                "unit_price_usd": None,
                "usd": None,
                "price_id": None if price is None else price.id,
                "status": "unknown",
            }
        ]
        row.low_pico_usd = 0
    return row


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
