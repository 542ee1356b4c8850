"""What ``gateway check --hardware`` prints: what deployments run on, and what that costs."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

from gateway.accounting.prices import PriceBook
from gateway.cli.output import Column, print_report, print_rows
from gateway.registry import Registry, Target
from gateway.settings import Settings
from providers.contract import Describable, Hardware, ProviderError
from providers.toolkit.http import open_http

_MIB_PER_GIB = 1024


def show_hardware(settings: Settings, form: str) -> bool:
    """Ask each provider that can say it. False when one did not answer."""
    registry = Registry(settings, open_http)
    registry.build()
    found = asyncio.run(_ask(registry))
    rows = [_row(settings, registry, target, said) for target, said in found]
    print_report(form, rows, rows, lambda: print_rows(rows, _COLUMNS, "table", ("made of",)))
    return not any(isinstance(said, ProviderError) for _, said in found)


def _row(
    settings: Settings, registry: Registry, target: Target, said: Hardware | ProviderError
) -> dict[str, Any]:
    priced = _priced(target)
    row: dict[str, Any] = {"deployment": target.name, "problem": None, "runs_on": None}
    row |= {"made_of": None, "usd_per_second": None, "price_usd_per_second": priced}
    if isinstance(said, ProviderError):
        return {**row, "problem": said.detail}
    kind = settings.providers.get(target.provider, {}).get("kind", target.provider)
    parts = _parts(said, str(kind))
    at_least = _usd_per_second(parts, registry.prices)
    return {
        **row,
        "runs_on": _words(said),
        "made_of": " + ".join(f"{quantity:f} {name}" for name, quantity in parts),
        "usd_per_second": None if at_least is None else f"{at_least:f}",
    }


_COLUMNS: list[Column] = [
    ("deployment", lambda row: row["deployment"]),
    (
        "runs on",
        lambda row: f"unknown: {row['problem']}" if row["problem"] else row["runs_on"],
    ),
    ("made of", lambda row: row["made_of"] or ""),
    ("usd a second", lambda row: row["usd_per_second"]),
    ("its price, usd a second", lambda row: row["price_usd_per_second"]),
]


async def _ask(registry: Registry) -> list[tuple[Target, Hardware | ProviderError]]:
    found: list[tuple[Target, Hardware | ProviderError]] = []
    try:
        for target in registry.targets.values():
            if isinstance(target.deployment, Describable):
                try:
                    found.append((target, await target.deployment.hardware()))
                except ProviderError as error:
                    found.append((target, error))
    finally:
        await registry.aclose()
    return found


def _words(hardware: Hardware) -> str:
    words = [f"{count} x {name}" for name, count in hardware.gpus]
    if hardware.cpu_cores is not None:
        words.append(f"{hardware.cpu_cores:g} cores")
    if hardware.memory_mib is not None:
        words.append(f"{hardware.memory_mib:g} MiB")
    return ", ".join(words) or "the provider's default"


def _parts(hardware: Hardware, kind: str) -> list[tuple[str, Decimal]]:
    """Names of prices, each with how many of it a second of the machine takes."""
    parts = [
        (f"{kind}-{name.lower().rstrip('!').replace('_', '-')}", Decimal(count))
        for name, count in hardware.gpus
    ]
    if hardware.cpu_cores is not None:
        parts.append((f"{kind}-cpu-core", Decimal(str(hardware.cpu_cores))))
    if hardware.memory_mib is not None:
        gib = Decimal(str(hardware.memory_mib)) / _MIB_PER_GIB
        parts.append((f"{kind}-memory-gib", gib))
    return parts


def _usd_per_second(parts: list[tuple[str, Decimal]], book: PriceBook) -> Decimal | None:
    """The sum; None where a part has no price, or nothing is known of them."""
    total, now_us = Decimal(0), time.time_ns() // 1000
    for name, quantity in parts:
        tariff = book.find(name)
        row = None if tariff is None else tariff.at(now_us)
        if row is None or row.usd_per_second is None:
            return None
        total += quantity * row.usd_per_second
    return total.normalize() if parts else None


def _priced(target: Target) -> str | None:
    row = None if target.tariff is None else target.tariff.at(time.time_ns() // 1000)
    if row is None or row.usd_per_second is None:
        return None
    return f"{row.usd_per_second:f} ({row.id})"
