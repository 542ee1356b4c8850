"""What attempts of the past would cost under today's price book.

The row in force when an attempt began holds, as it did then. Nothing is written here; ``changes``
says which columns a correction sets. Left as they are: what the provider priced or refused, what
today's book has no row for, and what was priced on the same terms already; so a second correction
finds nothing to do.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from gateway.accounting.prices import PriceBook, PriceRow, Tariff
from gateway.accounting.recompute import priced_by_provider, recomputed, refused_before_work
from gateway.accounting.settle import booked
from gateway.ledger.reports.views import usd, usd_or_null
from gateway.ledger.rows import AttemptRow
from gateway.pricebook.configured import tariff_of
from gateway.settings import Settings

logger = logging.getLogger(__name__)

Left: TypeAlias = Literal[
    "same_terms",
    "priced_by_provider",
    "refused_before_work",
    "not_configured",
    "no_price",
    "no_row_in_force",
    "cannot_be_computed",
]
WHY: Mapping[Left, str] = {
    "same_terms": "priced on the same terms already",
    "priced_by_provider": "priced by the provider itself",
    "refused_before_work": "refused before any work: they cost nothing",
    "not_configured": "their deployment is not configured any more",
    "no_price": "their deployment has no price",
    "no_row_in_force": "no price row was in force when they began",
    "cannot_be_computed": "their figures cannot be computed with",
}


@dataclass(slots=True)
class Sum:
    """Attempts of one deployment under one price; money in pico-USD."""

    attempts: int = 0
    changed: int = 0
    were_unknown: int = 0
    are_unknown: int = 0
    booked_known: int = 0
    now_known: int = 0

    def json(self, deployment: str, price_id: str) -> dict[str, Any]:
        """Ready for JSON. A sum of which nothing is known is null."""
        was = self.booked_known if self.were_unknown < self.attempts else self.booked_known or None
        now = self.now_known if self.are_unknown < self.attempts else self.now_known or None
        return {
            "deployment": deployment,
            "price": price_id,
            "attempts": self.attempts,
            "changed": self.changed,
            "booked_usd": usd_or_null(was),
            "booked_unknown": self.were_unknown,
            "now_usd": usd_or_null(now),
            "now_unknown": self.are_unknown,
            "difference_usd": usd(self.now_known - self.booked_known),
        }


@dataclass(slots=True)
class Repricing:
    """A walk over attempts; ``changes`` gives what a correction would set, and counts."""

    settings: Settings
    book: PriceBook
    sums: dict[tuple[str, str], Sum] = field(default_factory=dict)
    left: Counter[Left] = field(default_factory=Counter)

    def changes(self, rows: Iterable[AttemptRow]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The attempts whose cost differs, with the columns as they would be now."""
        tariffs: dict[str, Tariff | None] = {}
        for row in rows:
            price_row = self._row_for(row, tariffs)
            if isinstance(price_row, str):
                self.left[price_row] += 1
                continue
            try:
                columns = booked(recomputed(row, price_row))
            except (ArithmeticError, ValueError, TypeError, KeyError) as error:
                logger.warning("%s cannot be repriced: %s", row.attempt_id, type(error).__name__)
                self.left["cannot_be_computed"] += 1
                continue
            total = self.sums.setdefault((row.deployment, price_row.id), Sum())
            changed = any(getattr(row, name) != columns[name] for name in _MONEY)
            total.attempts += 1
            total.changed += changed
            total.were_unknown += row.cost_pico_usd is None
            total.are_unknown += columns["cost_pico_usd"] is None
            total.booked_known += row.known_pico_usd
            total.now_known += columns["known_pico_usd"]
            if changed:
                yield row.attempt_id, {**columns, "price": price_row.record}

    def _row_for(self, row: AttemptRow, tariffs: dict[str, Tariff | None]) -> PriceRow | Left:
        if refused_before_work(row):
            return "refused_before_work"
        if priced_by_provider(row):
            return "priced_by_provider"
        given = self.settings.deployments.get(row.deployment)
        if given is None:
            return "not_configured"
        if row.deployment not in tariffs:
            tariffs[row.deployment] = tariff_of(
                row.deployment, given, self.book, self.settings.providers
            )
        tariff = tariffs[row.deployment]
        if tariff is None:
            return "no_price"
        price_row = tariff.at(row.begun_at_us)
        if price_row is None:
            return "no_row_in_force"
        return "same_terms" if _terms_of(row) == price_row.terms else price_row


_MONEY = ("cost_status", "cost_pico_usd", "known_pico_usd", "low_pico_usd", "high_pico_usd")


def _terms_of(row: AttemptRow) -> dict[str, object] | None:
    if row.price is None:
        return None
    try:
        return PriceRow.model_validate(row.price).terms
    except ValidationError:
        return None  # another release's: today's row is then another one


def left_as_they_are(left: Counter[Left]) -> list[dict[str, Any]]:
    """How many attempts were left as they are, and why."""
    return [
        {"attempts": count, "reason": reason, "because": WHY[reason]}
        for reason, count in sorted(left.items())
    ]
