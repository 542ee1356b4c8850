"""What ``gateway simulate`` says, as one tree: policies, routes, policies held at equal cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from gateway.accounting.prices import PriceRow
from gateway.clock import rfc3339
from gateway.simulation.families import Family, Scene, maker
from gateway.simulation.held import Comparison, compare_policies
from gateway.simulation.routes import ROUTES, Site, route
from gateway.simulation.simulate import Outcome
from gateway.simulation.streams import Streams
from gateway.warmth.billing import Bill, Used, bill
from gateway.warmth.kept import Account
from gateway.warmth.replay import Spent
from gateway.warmth.windows import Stakes

_WORTHS = (1.0, 3.0, 7.0, 14.0, 30.0, 60.0)


def outcome_json(name: str, outcome: Outcome, row: PriceRow | None) -> dict[str, Any]:
    """One line of a table; money is text, unknown is null."""
    spent = _spent(outcome.accounts)
    found: dict[str, Any] = {
        "name": name,
        "requests": spent.requests,
        "cold": spent.cold,
        "cold_rate": outcome.cold_rate,
        "boots": spent.boots,
        "boots_ahead": outcome.sum("ahead"),
        "wait_seconds": outcome.wait_seconds,
        "busy_seconds": spent.busy_us / 1e6,
        "boot_seconds": spent.boot_us / 1e6,
        "idle_seconds": spent.idle_us / 1e6,
        "replica_seconds": spent.replica_us / 1e6,
    }
    bills = bills_of(outcome, row)
    for part in ("active", "boot", "idle", "total"):
        amounts = [getattr(each, f"{part}_usd") for each in bills or ()]
        known = bool(amounts) and None not in amounts
        found[f"{part}_usd"] = str(sum(amounts, Decimal(0))) if known else None
    return found


def bills_of(outcome: Outcome, row: PriceRow | None) -> list[Bill] | None:
    """What it costs, at each price by itself; None: a price is not known, or is not by the second.

    ``row`` is the price of all accounts, where the outcome has none of its own.
    """
    by_row: list[tuple[PriceRow | None, list[Account]]] = []
    for account, own in zip(
        outcome.accounts, outcome.rows or [row] * len(outcome.accounts), strict=True
    ):
        for known, accounts in by_row:
            if known is own:
                accounts.append(account)
                break
        else:
            by_row.append((own, [account]))
    found = []
    for own, accounts in by_row:
        if own is None or own.usd_per_second is None:
            return None
        spent = _spent(accounts)
        found.append(bill(own, spent, Used(spent.requests)))
    return found


def _spent(accounts: Sequence[Account]) -> Spent:
    columns = (
        *("requests", "cold", "boots", "boot_us", "busy_us", "idle_us"),
        *("execute_us", "queue_us"),
    )
    return Spent(**{name: sum(getattr(a, name) for a in accounts) for name in columns})


def policies_json(
    scene: Scene, stakes: Stakes, families: Sequence[Family], row: PriceRow | None
) -> list[dict[str, Any]]:
    """Each policy at the given worth of waiting."""
    return [outcome_json(family, scene.play(family, stakes), row) for family in families]


def routes_json(
    scene: Scene, stakes: Stakes, family: Family, sites: Sequence[Site], calls_off: bool = True
) -> list[dict[str, Any]]:
    """Each way to route over deployments, all of them under one policy; the rest as ``route``."""
    make = maker(family, stakes, window_seconds=scene.window_seconds, seed=scene.plant.seed)
    found = []
    for by in ROUTES:
        outcome = route(
            scene.streams,
            make,
            sites,
            by=by,
            count_from_us=scene.count_from_us,
            end_at_us=scene.end_at_us,
            calls_off=calls_off,
        )
        found.append(outcome_json(by, outcome, None))
    return found


def held_json(scene: Scene, stakes: Stakes, families: Sequence[Family]) -> dict[str, Any]:
    """Policies at the cost of the fixed window, with bounds of what could be known."""
    return comparison_json(compare_policies(scene, stakes, families, scene.plant.seed), scene)


def comparison_json(found: Comparison, scene: Scene) -> dict[str, Any]:
    """The comparison as a tree."""
    return {
        "window_seconds": scene.window_seconds,
        "fixed": outcome_json("fixed", found.fixed, None),
        "clairvoyant": {
            "keep_cold": found.keep_cold,
            "prewarm_replica_seconds": found.bounds.prewarm_us / 1e6,
        },
        "policies": [
            {
                "name": held.family,
                "wait_value_in_idle_seconds": held.at.wait_value,
                "cold": held.at.cold,
                "replica_seconds": held.at.replica_us / 1e6,
                "reached": held.at.reached,
                "change": held.change,
                "interval": held.interval,
                "gap_closed": held.gap_closed,
            }
            for held in found.held
        ],
    }


def frontier_json(
    scene: Scene, stakes: Stakes, families: Sequence[Family], row: PriceRow | None
) -> list[dict[str, Any]]:
    """Each policy over a range of what waiting is worth; for ``fixed``, of its windows."""
    unit = stakes.idle_usd_per_second or 1.0
    found = []
    for family in families:
        for worth in _WORTHS:
            told = replace(stakes, wait_value_usd_per_second=worth * unit)
            here = scene
            if family == "fixed":
                here = replace(scene, window_seconds=stakes.boot_seconds * (1 + worth))
            point = outcome_json(family, here.play(family, told), row)
            found.append({**point, "wait_value_in_idle_seconds": worth})
    return found


def trace_json(streams: Streams, count_from_us: int) -> dict[str, Any]:
    """What was replayed."""
    return {
        "streams": len(streams.streams),
        "requests": streams.requests,
        "start_time": _instant(streams.start_at_us),
        "end_time": _instant(streams.end_at_us),
        "mean_execute_seconds": streams.mean_execute_seconds,
        "days": (streams.end_at_us - streams.start_at_us) / 86_400e6,
        "counted_share": (streams.end_at_us - count_from_us)
        / max(1, streams.end_at_us - streams.start_at_us),
        "notes": streams.notes,
    }


def _instant(at_us: int) -> str | None:
    """None for what counts from its own beginning, and not from 1970."""
    return rfc3339(at_us) if at_us >= _CALENDAR_FROM_US else None


_CALENDAR_FROM_US = 10 * 365 * 86_400_000_000
