"""``GET /v1/compare``."""

from __future__ import annotations

from typing import Literal

from gateway.comparison.candidates import Kind
from gateway.http.openapi.base import Count, Instant, Seconds, Share, Shown, Usd, UsdRange
from gateway.ledger.rows import CostStatus


class Sample(Shown):
    """Of how much of the traffic the comparison was computed."""

    requests_read: Count
    """Requests that were read."""
    stretches_read: Count
    """Stretches of time that were read."""
    stretches: Count
    """Stretches of time that there are."""


class TrafficShown(Shown):
    """What the comparison is over."""

    origin: str
    """``ledger``, a trace or made-up traffic."""
    start_time: Instant
    """Begin of the range."""
    end_time: Instant
    """Its end, which is not part of it."""
    days: float
    """How long that is, in days."""
    requests: Count
    """Requests that succeeded."""
    requests_per_day: float | None
    """Their mean number a day."""
    mean_input_tokens: float | None
    """Mean tokens of an input; null: of some it is not known."""
    mean_output_tokens: float | None
    """Mean tokens of an output; null: of some it is not known."""
    left_out: Count
    """Requests that were read and did not succeed."""
    sample: Sample | None
    """null: all of it was read."""
    notes: list[str]
    """What to know of it."""


class Execute(Shown):
    """How long requests take there."""

    status: str
    """``measured`` or ``estimated``."""
    basis: str
    """Where that is from."""
    mean_seconds: Seconds | None
    """The mean, in seconds."""
    low_factor: float
    """It may be so many times as short."""
    high_factor: float
    """It may be so many times as long."""


class WaitsShown(Shown):
    """How long requests would wait before their work begins; null: not known."""

    p50_seconds: Seconds | None
    """Half would wait at most so long."""
    p95_seconds: Seconds | None
    """19 in 20 would wait at most so long."""
    p99_seconds: Seconds | None
    """99 in 100 would wait at most so long."""
    mean_seconds: Seconds | None
    """The mean."""
    cold_rate: Share | None
    """Share of requests that would wait for a boot, 0 to 1."""
    boots: Count | None
    """Boots in the range."""
    basis: str
    """Whether they were measured or replayed."""


class BootShown(Shown):
    """How long a boot is taken to be."""

    seconds: Seconds
    """What was computed with, in seconds."""
    low: Seconds
    """At least, in seconds."""
    high: Seconds
    """At most, in seconds."""
    status: Literal["measured", "estimated", "given"]
    """Who says so: the ledger, a table, or the question."""
    basis: str
    """Where that is from."""


class KeepAliveShown(Shown):
    """How long a replica is kept without work."""

    seconds: Seconds | None
    """In seconds; null: for ever."""
    basis: str
    """Who says so."""


class BootEnd(Shown):
    """The same with another boot."""

    boot_seconds: Seconds
    """How long the boot is taken to be."""
    total_usd: Usd | None
    """What all would cost."""
    wait_p95_seconds: Seconds | None
    """How long 19 in 20 would wait at most."""


class OneAtATime(Shown):
    """The same where a replica runs one request at a time."""

    total_usd: Usd | None
    """What all would cost."""
    wait_p95_seconds: Seconds | None
    """How long 19 in 20 would wait at most."""


class Sensitivity(Shown):
    """How much hangs on what is not known well."""

    boot: list[BootEnd]
    """With a shorter and a longer boot."""
    one_at_a_time: OneAtATime | None
    """Without requests that run together."""


class AtBatch(Shown):
    """How busy a machine is where it begins to pay."""

    batch: Count
    """Requests worked on together."""
    utilisation: float | None
    """Share of the day in which it works; above 1 it never pays; null: not known."""


class BreakEven(Shown):
    """From how many requests a machine that is up all day costs less than paying for each."""

    against: str
    """The candidate that is paid for by use."""
    usd_per_day: Usd
    """What the machine costs in a day."""
    requests_per_day: float
    """From so many on."""
    by_batch: list[AtBatch]
    """How busy it is then."""


class CandidateCompared(Shown):
    """One place that could serve the traffic. null: not known."""

    name: str
    """A deployment, a price row or the own card."""
    kind: Kind
    """Which of these."""
    provider: str | None
    """Whose it is."""
    hardware: str | None
    """The card."""
    price_id: str | None
    """The dated row of the price book."""
    price_source: str | None
    """Who says so."""
    bills: list[str]
    """What its seconds are billed for."""
    status: CostStatus
    """Whether its cost was measured, is an estimate, or is not known."""
    total_usd: Usd | None
    """What all of the traffic would cost."""
    known_usd: Usd
    """What is known of it."""
    range_usd: UsdRange | None
    """Between what it lies."""
    usd_per_request: Usd | None
    """The mean for one request."""
    active_usd: Usd | None
    """Work."""
    boot_usd: Usd | None
    """Boots."""
    idle_usd: Usd | None
    """Replicas that are kept without work."""
    tokens_usd: Usd | None
    """Tokens."""
    other_usd: Usd | None
    """All other units."""
    standing_usd: Usd | None
    """A card of one's own, used or not."""
    sampling_error: float | None
    """Of a sample: the relative error of the total."""
    execute: Execute | None
    """How long requests take there."""
    waits: WaitsShown
    """How long they would wait."""
    boot: BootShown | None
    """How long a boot takes; null: there is none to wait for."""
    keep_alive: KeepAliveShown | None
    """How long a replica is kept; null: there is none of one's own."""
    places: Count | None
    """Requests that one replica runs at once; null: any number."""
    replicas: Count | None
    """Machines that the traffic needs."""
    utilisation: Share | None
    """Share of the paid time with work, 0 to 1."""
    sensitivity: Sensitivity
    """How much hangs on what is not known well."""
    unknown: list[str]
    """What is not known."""
    notes: list[str]
    """What to know of it."""
    within_limit: bool | None
    """Whether ``max_wait_p95_seconds`` holds there."""
    on_frontier: bool
    """Whether no other is both cheaper and quicker."""
    break_even: BreakEven | None
    """From when a machine that is up all day pays."""


class Comparison(Shown):
    """The requests of a model at every place that could serve them, the cheapest first."""

    model: str
    """Whose requests."""
    sentence: str
    """What to do."""
    cheapest: str | None
    """The cheapest within the limit; null: none is known to be."""
    max_wait_p95_seconds: Seconds | None
    """The limit, as it was asked for."""
    traffic: TrafficShown
    """What it is over."""
    candidates: list[CandidateCompared]
    """Every candidate; those of unknown cost last."""
    assumptions: list[str]
    """What it rests on."""
    as_of: Instant | None = None
    """Only where the database is behind the journal: what came later is not in it."""
