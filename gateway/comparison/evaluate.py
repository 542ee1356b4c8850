"""One candidate over the traffic: replayed, billed, and what it would take to change the answer."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.comparison.candidates import Candidate
from gateway.comparison.capacity import Sizes, replicas
from gateway.comparison.seconds import Timing
from gateway.comparison.waits import Waits, waits_of
from gateway.estimates.tables import Shape
from gateway.warmth.arrivals import Arrivals, Measured, Traffic, rank
from gateway.warmth.billing import Bill, Used, bill, billed_us, bills_machine, seconds_usd
from gateway.warmth.replay import Plant, Replay, Spent

SECONDS_PER_DAY = 86_400
_MONTHS_PER_YEAR = Decimal(12)
_DAYS_PER_YEAR = Decimal("365.25")
_MACHINE_PARTS = ("active_usd", "boot_usd", "idle_usd", "standing_usd")
_PARTS = ("active_usd", "boot_usd", "idle_usd", "tokens_usd", "other_usd", "standing_usd")


@dataclass(slots=True)
class Outcome:
    """What came out for one candidate."""

    candidate: Candidate
    parts: dict[str, Decimal | None]
    total_usd: Decimal | None
    known_usd: Decimal
    low_usd: Decimal | None
    high_usd: Decimal | None
    status: str
    waits: Waits
    timing: Timing | None
    spent: Spent | None
    replicas: int | None = 1
    """How many machines the traffic needs; None: nobody knows."""
    sampling_error: float | None = None
    boot_sensitivity: list[dict[str, Any]] = field(default_factory=list)
    one_at_a_time: dict[str, Any] | None = None
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def evaluate(
    candidate: Candidate,
    traffic: Traffic,
    timing: Timing | None,
    seen: Measured | None,
    shape: Shape | None = None,
    sizes: Sizes | None = None,
) -> Outcome:
    """The candidate's cost and waits. What is not known stays None and is named in ``unknown``.

    Where one replica cannot carry the traffic, its machine time is taken as often as replicas are
    needed, and the waits are not known: a fleet is not replayed.
    """
    ran = _Run(candidate, traffic, timing)
    boot = candidate.boot
    replica = candidate.has_replica
    spent, waits, bills = ran.replay(0.0 if boot is None else boot.seconds, candidate.places)
    parts = _sum(bills, ran.scale)
    unknown: list[str] = []
    machines: int | None = 1
    if replica and timing is not None and spent.busy_us and timing.status != "measured":
        machines = replicas(spent.execute_us / spent.busy_us, shape, candidate.hardware, sizes)
    if candidate.row is None and candidate.own is None:
        parts, error = _as_charged(traffic, candidate, unknown)
        bills = []
    else:
        error = _sampling_error(bills, traffic)
    by_machine = candidate.own is not None or (
        candidate.row is not None and bills_machine(candidate.row)
    )
    drowns = by_machine and (machines is None or machines > candidate.machines)
    if drowns:
        for name in _MACHINE_PARTS:
            usd = parts[name]
            if usd:
                parts[name] = None if machines is None else usd * machines / candidate.machines
        unknown.append(
            "whether one replica can carry it" if machines is None else "how a fleet waits"
        )
    bills_boot = candidate.row is not None and "boot" in candidate.row.bills and replica
    if replica and boot is None:
        if bills_boot:
            parts["boot_usd"] = None
            unknown.append("how long a boot takes, and so what boots cost")
        else:
            unknown.append("how long a boot takes")
    if replica and timing is None:
        unknown.append("how long requests take here")
    if parts["tokens_usd"] is None and candidate.row is not None:
        unknown.append("tokens of some requests")
    if parts["other_usd"] is None and candidate.row is not None:
        unknown.append("images of some requests")
    known = sum((usd for usd in parts.values() if usd is not None), Decimal(0))
    total = None if None in parts.values() else known
    found = Outcome(
        candidate=candidate,
        parts=parts,
        total_usd=total,
        known_usd=known,
        low_usd=None,
        high_usd=None,
        status="unknown" if total is None else _status(candidate, traffic, timing, error),
        waits=(waits_of(candidate, traffic, timing, spent, waits, seen) if not drowns else Waits()),
        timing=timing,
        replicas=machines if replica else None,
        spent=spent if replica and timing is not None else None,
        sampling_error=error,
        unknown=unknown,
        notes=_notes(candidate, timing, spent, machines),
    )
    if found.waits.p95 is None and "how a fleet waits" not in unknown:
        unknown.append("how long requests wait")
    if total is not None:
        _bound(found, ran, spent)
    if (
        replica
        and timing is not None
        and boot is not None
        and candidate.keep_alive.seconds is not None
        and not drowns
    ):
        _sensitivity(found, ran)
    return found


class _Run:
    """Replays of one candidate; each stretch by itself, so that a sample has an error."""

    def __init__(self, candidate: Candidate, traffic: Traffic, timing: Timing | None) -> None:
        self.candidate = candidate
        self.traffic = traffic
        self.timing = timing
        stretches = len(traffic.stretches)
        self.scale = Decimal(traffic.stretches_in_range) / max(1, stretches)

    def replay(
        self, boot_seconds: float, places: int | None
    ) -> tuple[Spent, array[int], list[Bill]]:
        """What was spent, the waits that were not 0, and a bill for each stretch."""
        window = self.candidate.keep_alive.seconds
        plant = Plant(
            round(boot_seconds * 1e6), None if window is None else round(window * 1e6), places
        )
        total, waits, bills = Spent(), array("q"), []
        for number, stretch in enumerate(self.traffic.stretches):
            up_since = stretch.start_at_us if window is None else None
            replay = Replay(plant, up_since)
            if stretch.before is not None:
                replay.seed(*stretch.before)
            spent: Spent | None = None
            if self.timing is not None:
                replay.run(stretch.arrivals.at_us, self.timing.columns[number])
                if not self.traffic.is_sample or window is None:
                    replay.close(stretch.end_at_us)
                spent = replay.spent
                for name in Spent.__slots__:
                    setattr(total, name, getattr(total, name) + getattr(spent, name))
                waits.extend(replay.waits)
            length_us = stretch.end_at_us - stretch.start_at_us
            bills.append(self._bill(spent, number, stretch.arrivals, length_us))
        return total, waits, bills

    def input_tokens(self) -> Decimal:
        """All that went in, over the range; their number is known where a total is."""
        stretches = self.traffic.stretches
        return self.scale * sum(sum(stretch.arrivals.input_tokens) for stretch in stretches)

    def _bill(self, spent: Spent | None, number: int, rows: Arrivals, length_us: int) -> Bill:
        own, row = self.candidate.own, self.candidate.row
        if own is not None:
            standing, energy = own_usd(self.candidate, length_us)
            zero = Decimal(0)
            return Bill(zero, zero, zero, standing_usd=standing + energy)
        if row is None:
            return Bill(None, None, None)
        used = Used(
            len(rows),
            rows.total(rows.input_tokens),
            rows.total(rows.output_tokens),
            rows.total(rows.images),
        )
        if "standing" in row.bills and row.usd_per_second is not None:
            paid = seconds_usd(length_us * self.candidate.machines, row.usd_per_second)
            zero = Decimal(0)
            beside = bill(row, spent, used)
            return Bill(zero, zero, zero, beside.tokens_usd, beside.other_usd, paid)
        execute_us = None
        if self.timing is not None and row.round_up_seconds is not None:
            execute_us = sum(billed_us(row, us) for us in self.timing.columns[number])
        return bill(row, spent, used, execute_us)


def own_usd(candidate: Candidate, length_us: int) -> tuple[Decimal, Decimal]:
    """What an own card costs over a time, whether or not it works: money bound in it, and energy.

    Energy is reckoned at full power throughout; a card that idles draws less.
    """
    own = candidate.own
    assert own is not None
    hours = Decimal(length_us) / 3_600_000_000
    hours_per_year = _DAYS_PER_YEAR * 24
    standing = (
        own.capex_usd / own.life_years / hours_per_year
        + own.ops_usd_month * _MONTHS_PER_YEAR / hours_per_year
    ) * hours
    return standing, own.watts / 1000 * own.pue * own.usd_per_kwh * hours


def _sum(bills: Sequence[Bill], scale: Decimal) -> dict[str, Decimal | None]:
    found: dict[str, Decimal | None] = {}
    for name in _PARTS:
        amounts = [getattr(each, name) for each in bills]
        found[name] = None if None in amounts else sum(amounts, Decimal(0)) * scale
    return found


def _as_charged(
    traffic: Traffic, candidate: Candidate, unknown: list[str]
) -> tuple[dict[str, Decimal | None], float | None]:
    """No price row, but the provider may have said what each request cost: the mean of those."""
    costs = []
    number = traffic.sources.index(candidate.name) if candidate.name in traffic.sources else None
    for stretch in traffic.stretches:
        rows = stretch.arrivals
        for source, pico in zip(rows.source, rows.cost_pico_usd, strict=True):
            if source == number and pico >= 0:
                costs.append(pico)
    if not costs:
        unknown.append("its price")
        return dict.fromkeys(_PARTS, None), None
    parts: dict[str, Decimal | None] = dict.fromkeys(_PARTS, Decimal(0))
    mean = Decimal(sum(costs)) / len(costs)
    parts["other_usd"] = mean.scaleb(-12) * traffic.requests
    return parts, None


def _sampling_error(bills: Sequence[Bill], traffic: Traffic) -> float | None:
    """Half of the 95 % interval, as a share of the total; None where all was read."""
    totals = [float(each.known_usd) for each in bills]
    count = len(totals)
    if not traffic.is_sample or count < 2 or not any(totals):
        return None
    mean = math.fsum(totals) / count
    variance = math.fsum((usd - mean) ** 2 for usd in totals) / (count - 1)
    left = 1 - count / traffic.stretches_in_range
    return 1.96 * math.sqrt(variance / count * left) / mean


def _status(
    candidate: Candidate, traffic: Traffic, timing: Timing | None, error: float | None
) -> str:
    """A replay is an estimate; only what was measured and is billed for itself is measured."""
    row = candidate.row
    if row is None or traffic.is_sample or traffic.origin != "ledger":
        return "estimated"
    if row.usd_per_second is None:
        # Which tokens were in a cache depends on where they went.
        return "measured" if row.usd_per_cached_input_token is None else "estimated"
    for_itself = not bills_machine(row) and row.bills <= {"execute"}
    return (
        "measured"
        if for_itself and timing is not None and timing.status == "measured"
        else "estimated"
    )


def _bound(found: Outcome, ran: _Run, spent: Spent) -> None:
    """The range around the total: durations, boots, and the sample, as far as each is unsure."""
    low = high = found.known_usd
    active, boot_usd = found.parts["active_usd"] or 0, found.parts["boot_usd"] or 0
    if found.timing is not None and active:
        low -= active * (1 - Decimal(repr(found.timing.low)))
        high += active * (Decimal(repr(found.timing.high)) - 1)
    row = found.candidate.row
    if row is not None and row.usd_per_input_token and row.usd_per_cached_input_token is not None:
        low -= (row.usd_per_input_token - row.usd_per_cached_input_token) * ran.input_tokens()
    if row is not None and row.usd_per_second is not None and _apart_us(found.candidate, spent):
        high += seconds_usd(_apart_us(found.candidate, spent), row.usd_per_second) * ran.scale
    boot = found.candidate.boot
    if boot is not None and boot_usd and boot.seconds:
        low -= boot_usd * (1 - Decimal(repr(boot.low / boot.seconds)))
        high += boot_usd * (Decimal(repr(boot.high / boot.seconds)) - 1)
    if found.candidate.own is not None and found.parts["standing_usd"]:
        low -= (
            sum(
                (
                    own_usd(found.candidate, stretch.end_at_us - stretch.start_at_us)[1]
                    * (found.replicas or 1)
                    for stretch in ran.traffic.stretches
                ),
                Decimal(0),
            )
            * ran.scale
        )
    if found.sampling_error is not None:
        unsure = found.known_usd * Decimal(repr(found.sampling_error))
        low, high = low - unsure, high + unsure
    found.low_usd, found.high_usd = max(low, Decimal(0)), high


def _sensitivity(found: Outcome, ran: _Run) -> None:
    """The same with the shortest and the longest boot, and with one request at a time."""
    boot = found.candidate.boot
    assert boot is not None
    ends = (boot.low, boot.high) if boot.low < boot.high else (boot.seconds / 2, boot.seconds * 2)
    for seconds in ends:
        told = _again(found, ran, seconds, found.candidate.places)
        found.boot_sensitivity.append({"boot_seconds": seconds, **told})
    found.one_at_a_time = _again(found, ran, boot.seconds, 1)


def _again(found: Outcome, ran: _Run, boot_seconds: float, places: int | None) -> dict[str, Any]:
    spent, waits, bills = ran.replay(boot_seconds, places)
    amounts = _sum(bills, ran.scale).values()
    total = None if None in amounts else sum((a for a in amounts if a is not None), Decimal(0))
    late = rank(sorted(waits), 0.95, spent.requests - len(waits))
    return {"total_usd": total, "wait_p95_seconds": None if late is None else late / 1e6}


def _apart_us(candidate: Candidate, spent: Spent) -> int:
    """What more is paid for where requests cannot share the machine after all, in microseconds.

    A price that bills a machine's life without saying that it is shared is booked by the ledger
    for each request's own seconds: further machines come up for those that overlap.
    """
    row = candidate.row
    if row is None or row.shared or "execute" not in row.bills or not bills_machine(row):
        return 0
    return max(0, spent.execute_us - spent.busy_us)


def _notes(
    candidate: Candidate, timing: Timing | None, spent: Spent, machines: int | None
) -> list[str]:
    found = []
    if timing is not None and candidate.has_replica and spent.busy_us:
        together = spent.execute_us / spent.busy_us
        if machines is not None and machines > 1:
            found.append(
                f"{together:,.0f} requests run at once: about {machines:,} replicas carry that, "
                "by the roofline"
            )
        elif together > 2:
            found.append(
                f"{together:.1f} requests run at once while it works; they are taken not to slow "
                "each other"
            )
    row = candidate.row
    if timing is not None and _apart_us(candidate, spent) > spent.busy_us // 20:
        found.append(
            "its price does not say that requests share a machine; where each needs its own, work "
            f"costs {spent.execute_us / spent.busy_us:.2g} times as much (in the range)"
        )
    if row is not None and row.usd_per_cached_input_token is not None:
        found.append(
            "tokens are reckoned as if none were in a cache; the range begins where all are"
        )
    if row is not None and not row.simple_tokens:
        found.append(
            "what its tokens cost depends on each request (tiers, or tokens that nobody counts "
            "apart); a sum of requests does not tell it"
        )
    if row is not None and row.round_up_seconds is not None and bills_machine(row):
        found.append("rounding up of the machine's time is left out")
    if row is not None and row.note:
        found.append(row.note)
    return found
