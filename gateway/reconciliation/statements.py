"""Statements that were made, by provider: ``statements/<provider>.json`` in the data folder.

A file beside the database, because the database has one writer, the shipper, and a statement is
made by a command that may run while a gateway does. It is small, replaced whole, and can be read
without SQL. Newest last.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.ledger.rows import ChargeRow
from gateway.ledger.shipping.housekeeping import write_whole
from gateway.reconciliation.statement import TAX, Group, Statement, rule_of

_MOST = 120
_PICO = 12


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of one data folder."""

    data_dir: Path

    def read(self, provider: str) -> list[dict[str, Any]]:
        """All that are kept of a provider; none where none was made, or the file is damaged."""
        try:
            found = json.loads(self._path(provider).read_text(encoding="utf-8"))["statements"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return found if isinstance(found, list) else []

    def through(self, provider: str) -> tuple[str, str | None] | None:
        """Until when a provider is reconciled, and the difference in percent; None: never."""
        kept = self.read(provider)
        if not kept:
            return None
        last = max(kept, key=lambda said: str(said["until"]))
        return last["until"], last["difference_percent"]

    def add(self, statement: Statement, made_at: str, bill_sha256: str) -> bool:
        """Keep one; it takes the place of an earlier one of the same period. False: no room."""
        said = {
            "since": statement.since,
            "until": statement.until,
            "by": statement.by,
            "made_at": made_at,
            "bill_sha256": bill_sha256,
            **statement.total(),
        }
        period = (statement.since, statement.until)
        kept = [
            other
            for other in self.read(statement.provider)
            if (other.get("since"), other.get("until")) != period
        ]
        path = self._path(statement.provider)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"provider": statement.provider, "statements": [*kept, said][-_MOST:]}
        return write_whole(path, json.dumps(whole, indent=1).encode())

    def _path(self, provider: str) -> Path:
        return self.data_dir / "statements" / f"{provider}.json"


def adjustments(
    statement: Statement, bill_sha256: str, since_us: int, until_us: int
) -> list[ChargeRow]:
    """Charges that bring the ledger's sums to the bill's: one for each difference, named or not.

    Their ids follow from the bill, the period and what they are for: applying twice adds nothing.
    """
    charges = []
    for group in statement.groups:
        pico_usd = _pico(group)
        if group.verdict == "matched" or not pico_usd:
            continue
        start_us, end_us = group.interval or (since_us, until_us)
        key = f"{statement.provider}\n{bill_sha256}\n{start_us}\n{end_us}\n{group.what}"
        if group.name == TAX:  # a tax may bear the name of the model that it is on
            key += f"\n{TAX}"
        deployments = group.ours.deployments
        only = next(iter(deployments)) if len(deployments) == 1 else None
        charges.append(
            ChargeRow(
                charge_id=f"chg_{hashlib.sha256(key.encode()).hexdigest()[:22]}",
                kind="adjustment",
                deployment=only or group.model or group.what,
                provider=statement.provider,
                period_start_at_us=start_us,
                period_end_at_us=end_us,
                rule=rule_of(group.name),
                status="measured",
                cost_pico_usd=pico_usd,
            )
        )
    return charges


def _pico(group: Group) -> int:
    return int(group.difference_usd.scaleb(_PICO).to_integral_value())
