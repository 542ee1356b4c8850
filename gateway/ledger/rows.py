"""The shape of what is kept for ever: attempts and charges. History is never rewritten.

Units are in the names. Instants are integer microseconds since the epoch, UTC (``_at_us``), money
is integer pico-USD (``_pico_usd``; 10**12 to the dollar), so that sums are exact in every
database. ``None`` is "not known", never 0.

Journal lines are JSON objects, one a line, each with ``v``, ``seq`` (1, 2, 3 ... in its file) and
``kind``:

    begin     {"attempt": AttemptRow with status "running"}       before the provider is called
    accepted  {"attempt_id", "upstream_id", "at_us"}              the provider has given a job id
    end       {"attempt": the whole AttemptRow}                   before the client's last byte
    correct   {"attempt_id", "at_us", "reason", "set": {column: value}}   a later, better truth
    charge    {"charge": ChargeRow}

An ``end`` line repeats all of its ``begin``, so each is a whole row by itself: the database is a
plain fold (``begin`` inserts unless the row exists, ``end`` replaces), and folding a line twice
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

JOURNAL_VERSION = 1

AttemptStatus: TypeAlias = Literal[
    "running", "succeeded", "failed", "cancelled", "interrupted", "lost_hedge"
]
CostStatus: TypeAlias = Literal["measured", "estimated", "unknown"]
Verdict: TypeAlias = Literal["cold", "warm", "unknown"]
ChargeKind: TypeAlias = Literal["idle", "standing", "keep_warm", "fee", "adjustment"]


@dataclass(slots=True)
class AttemptRow:
    """One dispatch of one operation to one deployment: where money is spent.

    ``ordinal`` counts the attempts of an operation from 0. ``price`` is the bound price row as it
    was used (None: no price is known), so that the cost can be computed again from this row.
    ``cost_pico_usd`` is None while any billable line is unknown; ``known_pico_usd`` is what is
    known; ``low_pico_usd`` and ``high_pico_usd`` bound an estimate (``high`` None: no bound).
    ``reserved_pico_usd`` is the worst case that was foreseen at the begin (None: no bound).
    ``cost_lines`` hold dicts: kind, quantity, unit_price_usd, usd, price_id, status (strings or
    None). Token sources are ``reported``, ``counted`` or ``estimated``.
    """

    attempt_id: str
    operation_id: str
    ordinal: int
    route: str
    streamed: bool
    model: str
    deployment: str
    provider: str
    provider_model: str
    config_revision: str
    begun_at_us: int
    operation_at_us: int
    origin: Literal["live", "imported"] = "live"
    status: AttemptStatus = "running"
    key_id: str | None = None
    hardware: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    completed_at_us: int | None = None
    error_type: str | None = None
    finish_reason: str | None = None
    upstream_id: str | None = None
    upstream_revision: str | None = None
    instance_id: str | None = None

    verdict: Verdict = "unknown"
    evidence: str | None = None
    caused_boot: bool | None = None
    idle_before_seconds: float | None = None
    queue_seconds: float | None = None
    boot_seconds: float | None = None
    wait_seconds: float | None = None
    first_output_seconds: float | None = None
    execute_seconds: float | None = None
    gateway_seconds: float | None = None
    total_seconds: float | None = None

    max_output_tokens: int | None = None
    input_tokens: int | None = None
    input_tokens_source: str | None = None
    output_tokens: int | None = None
    output_tokens_source: str | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    images: int | None = None

    price: dict[str, Any] | None = None
    cost_status: CostStatus = "unknown"
    cost_pico_usd: int | None = None
    known_pico_usd: int = 0
    low_pico_usd: int | None = None
    high_pico_usd: int | None = None
    reserved_pico_usd: int | None = None
    cost_lines: list[dict[str, Any]] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ChargeRow:
    """Money that belongs to no single attempt; ``rule`` names how it is allocated."""

    charge_id: str
    kind: ChargeKind
    deployment: str
    provider: str
    period_start_at_us: int
    period_end_at_us: int
    rule: str
    status: CostStatus = "unknown"
    attempt_id: str | None = None
    quantity: str | None = None
    unit_price_usd: str | None = None
    price_id: str | None = None
    cost_pico_usd: int | None = None
