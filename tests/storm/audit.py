"""The ledger held against what the upstreams bill, operation by operation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(slots=True)
class Row:
    """One line of the table: operations of a status and a cost status."""

    operations: int = 0
    ledger_usd: Decimal = Decimal(0)
    billed_usd: Decimal = Decimal(0)
    low_usd: Decimal = Decimal(0)
    high_usd: Decimal | None = Decimal(0)
    exact: int = 0
    bounded: int = 0


@dataclass(slots=True)
class Audit:
    """What came of it. ``wrong`` is empty where every dollar is accounted for."""

    rows: dict[tuple[str, str], Row] = field(default_factory=lambda: defaultdict(Row))
    wrong: list[str] = field(default_factory=list)
    operations: int = 0
    attempts: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    lost_hedges: int = 0

    def table(self) -> str:
        """For people: what the ledger says beside what was billed."""
        head = ("operation", "cost", "count", "ledger USD", "billed USD", "low", "high", "equal")
        lines = [head]
        for (status, cost), row in sorted(self.rows.items()):
            high = "no bound" if row.high_usd is None else f"{row.high_usd:.9f}"
            known = "unknown" if cost == "unknown" else f"{row.ledger_usd:.9f}"
            lines.append(
                (
                    *(status, cost, str(row.operations), known, f"{row.billed_usd:.9f}"),
                    *(f"{row.low_usd:.9f}", high, str(row.exact)),
                )
            )
        widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        )


def audit(operations: Iterable[Any], billed: Mapping[int, Decimal]) -> Audit:
    """Compare. ``billed``: what was billed for the operation of each number, all calls together.

    A measured cost equals the bill to the last digit; any other bounds it; nothing that was billed
    is missing, and no operation stands there twice.
    """
    done = Audit()
    seen: dict[int, str] = {}
    left = dict(billed)
    for operation in operations:
        number = int(operation["tags"]["operation"])
        done.operations += 1
        done.attempts += len(operation["attempts"])
        done.lost_hedges += sum(x["status"] == "lost_hedge" for x in operation["attempts"])
        done.statuses[operation["status"]] += 1
        if number in seen:  # its caller came again after a failure or a kill: the bill is for both
            done.wrong.append(
                f"operation {number} is there twice: {seen[number]}, {operation['id']}"
            )
        seen[number] = operation["id"]
        truth = left.pop(number, Decimal(0))
        _compare(done, operation, number, truth)
    for number, usd in left.items():
        if usd:
            done.wrong.append(f"operation {number} was billed {usd} and is not in the ledger")
    return done


def _compare(done: Audit, operation: Any, number: int, truth: Decimal) -> None:
    cost = operation["cost"]
    row = done.rows[operation["status"], cost["status"]]
    row.operations += 1
    row.billed_usd += truth
    known = Decimal(cost["known_usd"])
    bounds = cost["range_usd"] or {"low": cost["total_usd"], "high": cost["total_usd"]}
    low = Decimal(bounds["low"])
    high = None if bounds["high"] is None else Decimal(bounds["high"])
    row.ledger_usd += known
    row.low_usd += low
    row.high_usd = None if row.high_usd is None or high is None else row.high_usd + high
    row.exact += known == truth
    if cost["status"] == "measured":
        if Decimal(cost["total_usd"]) != truth:
            done.wrong.append(f"{operation['id']} ({number}): measured {known}, billed {truth}")
    elif truth < low or (high is not None and truth > high):
        done.wrong.append(f"{operation['id']} ({number}): {low} to {high}, billed {truth}")
    else:
        row.bounded += 1
