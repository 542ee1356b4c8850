"""From a deployment's ``keep_warm`` to the policy that decides and the keeper that acts."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.configuration import ConfigError
from gateway.execution.charging import Charging
from gateway.keeping.keeper import Keeper
from gateway.keeping.left_open import LeftHeld
from gateway.keeping.settings import KeepWarmSettings, Schedule
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.reading.unshipped import Unshipped
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from gateway.registry import Registry, Target
from gateway.settings import Settings
from gateway.warmth.arrivals import Traffic
from gateway.warmth.policies.base import Arrived, Idled, Policy, WentOff
from gateway.warmth.policies.fixed import Fixed, SkiRental
from gateway.warmth.policies.histogram import Histogram
from gateway.warmth.policies.learned import Learned, Table
from gateway.warmth.policies.scheduled import Hours, Scheduled
from gateway.warmth.windows import Stakes

logger = logging.getLogger(__name__)

_LEARNS_FROM_US = 14 * 86_400_000_000
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


async def keepers(
    settings: Settings,
    registry: Registry,
    charging: Charging,
    open_reports: Callable[[], Reports],
    dice: Callable[[str], random.Random],
    held: Mapping[str, LeftHeld],
    unshipped: Unshipped,
) -> list[Keeper]:
    """A keeper for each deployment that has a policy, and for each that an earlier gateway left
    ``held``, though it be to let go of it only. Raises ConfigError.

    Each policy is told the requests of the last two weeks first; a ledger that cannot be read costs
    it that, and not the start. What the month has cost is known however far the database is behind.
    """
    found = []
    now_us = charging.clock.wall_us()
    month = datetime.fromtimestamp(now_us / 1e6, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    for name, deployment in settings.deployments.items():
        given = deployment.keep_warm
        if given is None and name in held:
            given = KeepWarmSettings(policy="fixed", window_seconds=0)
            logger.warning("%s: no policy keeps it warm any more: it is let go of", name)
        if given is None:
            continue
        target = registry.targets[name]
        policy = policy_of(target, given, now_us, dice(name))
        begin_us = int(month.timestamp()) * 1_000_000
        told = unshipped.kept(name, begin_us)
        spent = sum(told.values())
        try:
            reports = open_reports()
            query = ReportQuery(now_us - _LEARNS_FROM_US, now_us, filters={"deployment": (name,)})
            remember(policy, await asyncio.to_thread(reports.traffic, query), now_us)
            spent = await asyncio.to_thread(reports.kept_pico_usd, name, begin_us, told)
        except (StoreUnavailable, SchemaMismatch) as error:
            logger.error("%s: keep-warm begins without its history: %s", name, error)
        keeper = Keeper(target, given, policy, charging, spent)
        if name in held:
            keeper.takes_over(held[name].since_us, held[name].told_us)
        target.keeper = keeper
        found.append(keeper)
    return found


def policy_of(
    target: Target,
    given: KeepWarmSettings,
    now_us: int,
    dice: random.Random,
) -> Policy:
    """The policy of one deployment; ``dice`` draw its windows, where it draws any.

    Raises ConfigError where its table cannot be used.
    """
    row = None if target.tariff is None else target.tariff.at(now_us)
    rate = 0.0 if row is None or row.usd_per_second is None else float(row.usd_per_second)
    bills = frozenset() if row is None else row.bills
    stakes = Stakes(
        given.boot_seconds,
        rate if "idle" in bills else 0.0,
        rate if "boot" in bills else 0.0,
        float(given.wait_value_usd_per_second),
    )
    policy: Policy
    match given.policy:
        case "fixed":
            policy = Fixed(stakes, given.window_seconds)
        case "ski_rental":
            policy = SkiRental(stakes)
        case "ski_randomised":
            policy = SkiRental(stakes, dice)
        case "histogram":
            policy = Histogram(stakes)
        case "learned":
            assert given.table is not None
            policy = Learned(stakes, _table(given.table, target.name), target.name)
    if given.schedules:
        return Scheduled(policy, hours_of(given.schedules, given.boot_seconds))
    return policy


def remember(policy: Policy, traffic: Traffic, now_us: int) -> None:
    """Tell a policy what it would have seen, so that it does not begin from nothing.

    Of a sample it is told each stretch by itself: the time between two is no gap.
    """
    until: int | None = None
    for stretch in traffic.stretches:
        until = None
        columns = stretch.arrivals
        for at, wait, execute in zip(
            columns.at_us, columns.wait_us, columns.execute_us, strict=True
        ):
            if until is not None and at > until:
                policy.observe(Idled(until))
            policy.observe(Arrived(at))
            until = max(until or 0, at + max(0, wait) + max(0, execute))
    if until is not None:
        policy.observe(Idled(until))
        policy.decide(now_us)  # what was due since then is over
        policy.observe(WentOff(now_us))


def hours_of(schedules: tuple[Schedule, ...], boot_seconds: float) -> Hours:
    """The hours of all schedules together, each beginning a boot's time early."""

    def inside(at_us: int) -> tuple[bool, int | None]:
        now = datetime.fromtimestamp(at_us / 1e6, UTC)
        within, changes = False, []
        for schedule in schedules:
            zone = ZoneInfo(schedule.time_zone)
            today = now.astimezone(zone).date()
            for offset in range(-1, 9):
                day = today + timedelta(days=offset)
                if _DAYS[day.weekday()] not in schedule.days:
                    continue
                begin = datetime.combine(day, schedule.begin, zone)
                later = schedule.end <= schedule.begin
                end = datetime.combine(day + timedelta(days=later), schedule.end, zone)
                begin = begin.astimezone(UTC) - timedelta(seconds=boot_seconds)
                end = end.astimezone(UTC)
                within = within or begin <= now < end
                changes += [edge for edge in (begin, end) if edge > now]
        return within, round(min(changes).timestamp() * 1e6) if changes else None

    return inside


def _table(path: Path, deployment: str) -> Table:
    place = f"deployments.{deployment}.keep_warm.table"
    try:
        return Table.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{place}: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{place}: {path}: {error}") from error
