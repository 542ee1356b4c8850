"""What keeping deployments warm has saved in a month, and wasted: from the stays of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from gateway.keeping.settings import KeepWarmSettings
from gateway.ledger.reports.kept_warm import KeptWarm
from gateway.ledger.stay_rules import GOES_ON, REST, UNUSED, USED
from gateway.settings import DeploymentSettings

_PICO = Decimal("1E-12")


def month_of(text: str | None) -> tuple[int, int]:
    """Begin and end of a month (UTC), ``2026-11`` say, in microseconds; None: the present one.

    Raises ValueError.
    """
    begin = datetime.now(UTC) if text is None else datetime.strptime(f"{text} +0000", "%Y-%m %z")
    begin = begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return int(begin.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000


def statement(
    kept: Sequence[KeptWarm], deployments: Mapping[str, DeploymentSettings]
) -> list[dict[str, Any]]:
    """A row for each deployment that has a policy, or had stays. Money is text; null: not known.

    What a stay cost in this month is of use, or for nothing, by how the stay ended, be that later;
    ``open_usd`` is what those cost that have not ended.
    """
    policies = {
        name: given.keep_warm for name, given in deployments.items() if given.keep_warm is not None
    }
    return [
        _row(name, [row for row in kept if row.deployment == name], policies.get(name))
        for name in sorted({row.deployment for row in kept} | set(policies))
    ]


def _row(name: str, own: Sequence[KeptWarm], policy: KeepWarmSettings | None) -> dict[str, Any]:
    used = [row for row in own if row.rule == USED]
    unused = [row for row in own if row.rule == UNUSED]
    open_ = [row for row in own if row.rule == GOES_ON]
    avoided = sum(row.stays for row in used)
    known = not any(row.unpriced_stays for row in own)
    cost = sum(row.cost_pico_usd for row in own) * _PICO if known else None
    wasted = sum(row.cost_pico_usd for row in unused) * _PICO if known else None
    unsaid = sum(row.cost_pico_usd for row in open_) * _PICO if known else None
    seconds = saved = None
    if policy is not None:
        waited = sum(row.microseconds for row in own if row.rule == REST)
        seconds = avoided * Decimal(str(policy.boot_seconds)) - Decimal(waited) / 1_000_000
        saved = seconds * policy.wait_value_usd_per_second
    return {
        "deployment": name,
        "policy": None if policy is None else policy.policy,
        "cold_starts_avoided": avoided,
        "stays_wasted": sum(row.stays for row in unused),
        "stays_open": sum(row.stays for row in open_),
        "kept_seconds": sum(row.microseconds for row in own) / 1e6,
        "cost_usd": _text(cost),
        "wasted_usd": _text(wasted),
        "open_usd": _text(unsaid),
        "waiting_saved_seconds": _text(seconds),
        "saved_usd": _text(saved),
        "net_usd": None if cost is None or saved is None else _text(saved - cost),
        "monthly_budget_usd": _text(None if policy is None else policy.monthly_budget_usd),
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}"


COLUMNS: Final = tuple(_row("", (), None))
"""What a row says, also where there is none."""
