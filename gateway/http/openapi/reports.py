"""Reports of what was spent and how cold it was."""

from __future__ import annotations

from typing import Literal

from gateway.http.openapi.base import (
    Count,
    Decimals,
    Instant,
    Interval,
    Page,
    Seconds,
    Share,
    Shown,
    Usd,
    UsdRange,
)
from gateway.http.openapi.operations import HeldShown, Operation
from gateway.ledger.rows import ChargeKind, CostStatus


class HeldCount(HeldShown):
    """Operations that the gateway holds back at this moment, for one deployment."""

    operations: Count
    """How many; ``since``: from when on the first of them waits."""


class Operations(Page[Operation]):
    """Operations, newest first."""

    held: list[HeldCount]
    """Those without an attempt yet; a key sees its own. Filters and range do not touch it."""


class ChargeCost(Shown):
    """What a charge comes to."""

    total_usd: Usd | None
    """All of it; null: not known."""
    status: CostStatus
    """Whether it was measured or estimated, or nobody knows it."""
    range_usd: UsdRange | None
    """Between what it lies where it is not measured; null where it is."""


class ChargeShown(Shown):
    """Money that belongs to no single attempt."""

    id: str
    """Its id."""
    kind: ChargeKind
    """What it is."""
    deployment: str
    """The deployment that it is paid for."""
    provider: str
    """The provider of that deployment."""
    start_time: Instant
    """Begin of its period."""
    end_time: Instant
    """Its end."""
    seconds: float
    """How long that is, in seconds."""
    rule: str
    """How it is allocated."""
    cost: ChargeCost
    """What it comes to."""
    quantity: Decimals | None
    """How much, in the unit of its price: seconds for all that is booked by the second."""
    unit_price_usd: Decimals | None
    """The price of one."""
    price_id: str | None
    """The dated row of the price book."""
    attempt_id: str | None
    """The attempt that it is for; null: for none."""
    operation_id: str | None
    """That attempt's operation."""
    model: str | None
    """The model that was asked for."""
    key: str | None
    """The key that asked."""
    stay: Literal["used", "unused", "rest", "open"] | None
    """What the keep-warm stay came to that it is a slice of; open: that is not known yet."""


class Charges(Page[ChargeShown]):
    """Charges, newest first."""


class CostSum(Shown):
    """The lines of one kind, added up."""

    kind: str
    """``execute_seconds``, ``input_tokens``, ``idle`` and so on; quantities are in its unit."""
    quantity: Decimals | None
    """How much of it, as decimal text; null: of no line is it known."""
    usd: Usd | None
    """What is known of its cost; null: of no line is it known."""
    unknown_lines: Count
    """Lines whose cost is not known, and not in the sum."""


class CostRow(Shown):
    """What one group cost in one bucket. Unknown is counted, never summed as 0."""

    group: dict[str, str | None]
    """The values of ``group_by``; null: it has none."""
    start_time: Instant
    """Begin of the bucket."""
    end_time: Instant
    """Its end, which is not part of it."""
    attempts: Count
    """Attempts."""
    charges: Count
    """Charges that belong to no attempt: idle and standing machines, keep-warm, adjustments."""
    known_usd: Usd
    """What is known of attempts and charges together."""
    measured_usd: Usd
    """The part of it that was measured."""
    estimated_usd: Usd
    """The part of it that is an estimate."""
    range_usd: UsdRange
    """Between what all of it lies."""
    unknown_attempts: Count
    """Attempts whose cost is not known."""
    unknown_charges: Count
    """Charges whose cost is not known."""
    lines: list[CostSum]
    """The same by kind."""


class Costs(Page[CostRow]):
    """What was spent."""


class HistogramBin(Shown):
    """How many lie between two edges."""

    from_seconds: Seconds
    """The lower edge, which is not part of it."""
    to_seconds: Seconds | None
    """The upper edge; null: open."""
    count: Count
    """How many."""


class Distribution(Shown):
    """Percentiles by nearest rank; null where there is none."""

    p50: Seconds | None
    """Half took at most so many seconds."""
    p90: Seconds | None
    """Nine in ten took at most so many seconds."""
    p99: Seconds | None
    """99 in 100 took at most so many seconds."""
    mean: Seconds | None
    """The mean, in seconds."""
    count: Count
    """Of how many."""
    relative_error: float | None = None
    """Of percentiles from sums: they are within this share. Absent: they are exact."""


class BootDistribution(Distribution):
    """The same for boots, with a histogram."""

    histogram: list[HistogramBin]
    """From the first bin that holds something to the last."""


class ColdStartRow(Shown):
    """How cold one group was in one bucket."""

    group: dict[str, str | int | None]
    """The values of ``group_by`` and ``by``; null: it has none."""
    start_time: Instant
    """Begin of the bucket."""
    end_time: Instant
    """Its end, which is not part of it."""
    attempts: Count
    """Attempts that have ended."""
    cold: Count
    """Those that waited for a boot."""
    warm: Count
    """Those that are proved to have waited for none."""
    unknown: Count
    """Those of which nothing is proved."""
    cold_rate: Share | None
    """``cold`` of ``cold`` and ``warm``, 0 to 1; null: there are neither."""
    cold_rate_interval: Interval | None
    """How sure that is."""
    boots: Count
    """Boots that attempts have caused: nine who wait for one boot are nine cold ones."""
    boot_rate: Share | None
    """``boots`` of ``cold`` and ``warm``, 0 to 1."""
    boot_rate_interval: Interval | None
    """How sure that is."""
    boot_seconds: BootDistribution
    """How long boots took, of those who caused them."""
    wait_seconds: Distribution
    """How long cold attempts waited."""
    evidence: dict[str, Count]
    """How many verdicts rest on what."""


class ExplainedPeriod(Shown):
    """One of the two times."""

    start_time: Instant
    """Its begin."""
    end_time: Instant
    """Its end."""
    attempts: Count
    """Attempts that have ended."""
    cold: Count
    """Those that waited for a boot."""
    warm: Count
    """Those that are proved to have waited for none."""
    unknown: Count
    """Those of which nothing is proved."""
    cold_rate: Share | None
    """``cold`` of ``cold`` and ``warm``, 0 to 1."""
    cold_rate_interval: Interval | None
    """How sure that is."""


class Causes(Shown):
    """What each cause has changed the cold rate by; together they are the change."""

    idle_gap_mix: float | None
    """Longer or shorter gaps between calls."""
    keep_alive: float | None
    """Gaps of the same length that end cold more or less often."""
    routing_share: float | None
    """More or fewer calls to the colder deployments."""
    scale_out: float | None
    """Calls beside others that need another machine."""
    new_revision: float | None
    """Revisions of the model that were not seen before."""
    evidence_mix: float | None
    """More or fewer attempts with a verdict."""


class Explanation(Shown):
    """Why the cold rate is another one than before."""

    before: ExplainedPeriod
    """The time before the range."""
    after: ExplainedPeriod
    """The range."""
    change: float | None
    """The cold rate after, less the one before; null where a time has no verdicts."""
    causes: Causes
    """Its causes."""


class ColdStarts(Page[ColdStartRow]):
    """How cold it was."""

    explanation: Explanation | None = None
    """With ``against``."""


class BudgetRow(Shown):
    """What one budget is at. null: not known yet, for a moment after a start."""

    name: str
    """What errors call it."""
    key: str | None
    """The key whose calls it is about; null: all."""
    tag: dict[str, str] | None
    """The tags whose operations it is about; null: all."""
    per: Literal["hour", "day", "month", "total"]
    """When it begins anew."""
    time_zone: str
    """Where its days and months begin."""
    start_time: Instant | None
    """When it began; null: a total."""
    end_time: Instant | None
    """When it begins anew; null: never."""
    limit_usd: Usd
    """The most that may be spent."""
    spent_usd: Usd | None
    """What was spent."""
    reserved_usd: Usd | None
    """What running attempts have set aside."""
    left_usd: Usd | None
    """What is left, reservations taken off."""
    unknown_attempts: Count | None
    """Attempts whose cost is not known, and so not in the sum."""


class Budgets(Page[BudgetRow]):
    """Every budget."""
