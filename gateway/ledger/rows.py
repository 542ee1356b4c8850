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
    open      {"open": OpenCharge}                                time that will be charged goes on

An ``end`` line repeats all of its ``begin``, so each is a whole row by itself: the database is a
plain fold (``begin`` inserts unless the row exists, ``end`` replaces), and folding a line twice
changes nothing. An ``open`` line is for the next start alone (see ``opened``), and is in no table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

JOURNAL_VERSION = 1

AttemptStatus: TypeAlias = Literal[
    "running", "succeeded", "failed", "cancelled", "interrupted", "lost_hedge"
]
CostStatus: TypeAlias = Literal["measured", "estimated", "unknown"]
Origin: TypeAlias = Literal["live", "imported"]
Verdict: TypeAlias = Literal["cold", "warm", "unknown"]
ChargeKind: TypeAlias = Literal["idle", "standing", "keep_warm", "fee", "adjustment"]


@dataclass  # without slots: orjson writes a __dict__ five times as fast as it asks for 52 fields
class AttemptRow:
    """One dispatch of one operation to one deployment: where money is spent."""

    attempt_id: str
    """``att_`` and 22 hex digits that sort by time."""
    operation_id: str
    """The operation it belongs to, ``gen_...``: what the caller knows it by."""
    ordinal: int
    """Counts the attempts of an operation from 0."""
    route: str
    """The API it came in by: ``generate`` or ``chat.completions``."""
    streamed: bool
    """Whether the caller asked for a stream."""
    model: str
    """The name that the caller asked for."""
    deployment: str
    """The deployment that was asked, by its configured name."""
    provider: str
    """The provider of that deployment, by its configured name."""
    provider_model: str
    """The provider's own name of the model."""
    config_revision: str
    """Digest of the configuration file and of the names of overriding variables."""
    begun_at_us: int
    """When the attempt was written down, just before the provider was called."""
    operation_at_us: int
    """When the operation came in; reports go by this."""
    origin: Origin = "live"
    """``live``: it went through this gateway; ``imported``: it is history from elsewhere."""
    status: AttemptStatus = "running"
    """How it ended; ``interrupted``: the gateway died meanwhile; ``lost_hedge``: another attempt
    of its operation had output, or its deployment was up, before it."""
    key_id: str | None = None
    """Name of the caller's key; None where keys are off."""
    hardware: str | None = None
    """What it ran on, as configured."""
    tags: dict[str, str] = field(default_factory=dict)
    """The caller's own labels."""
    completed_at_us: int | None = None
    """When it ended; of an interrupted one, the gateway's last sign of life."""
    error_type: str | None = None
    """Class of the failure, ``RateLimited`` say."""
    finish_reason: str | None = None
    """Why the provider stopped, in its own word: ``stop``, ``length``."""
    upstream_id: str | None = None
    """The provider's id of the job."""
    upstream_revision: str | None = None
    """The revision of the model that served it, where the provider says."""
    instance_id: str | None = None
    """The machine or process that served it, where it is known."""

    verdict: Verdict = "unknown"
    """Whether it waited for a boot."""
    evidence: str | None = None
    """What the verdict rests on."""
    caused_boot: bool | None = None
    """Whether the boot happened because of this attempt; None: nobody said."""
    idle_before_seconds: float | None = None
    """How long its deployment had run nothing before; None: the first since the start."""
    held_seconds: float | None = None
    """Waiting at the gateway before the dispatch, for a boot that another attempt had caused or for
    a place; None: it was sent at once."""
    queue_seconds: float | None = None
    """Waiting for a place at the provider."""
    boot_seconds: float | None = None
    """Waiting for a boot, whoever caused it; also at the gateway, where another attempt had."""
    wait_seconds: float | None = None
    """From dispatch until work began: queue and boot, also where they cannot be told apart. With
    ``held_seconds`` where those were spent on a boot."""
    first_output_seconds: float | None = None
    """From dispatch to the first output."""
    execute_seconds: float | None = None
    """Work, from its begin (or from dispatch, where nothing marks one) to the end."""
    gateway_seconds: float | None = None
    """The gateway's own share: before the dispatch and after the end."""
    total_seconds: float | None = None
    """From dispatch to the end."""
    unattended_seconds: float | None = None
    """How long it went on when nobody waited for the answer any more: its last caller had left, or
    was told to come back and had not yet; None: somebody waited to its end."""

    max_output_tokens: int | None = None
    """The longest answer that the caller allowed, all choices together."""
    input_tokens: int | None = None
    """Tokens that went in, cached ones included."""
    input_tokens_source: str | None = None
    """``reported`` (by the provider), ``counted`` (by the engine) or ``estimated`` (from bytes)."""
    output_tokens: int | None = None
    """Tokens that came out, reasoning included."""
    output_tokens_source: str | None = None
    """As ``input_tokens_source``."""
    cached_input_tokens: int | None = None
    """Input tokens that the provider had in its cache."""
    reasoning_tokens: int | None = None
    """Output tokens spent on reasoning."""
    images: int | None = None
    """Images that came out."""

    price: dict[str, Any] | None = None
    """The price row as it was used, so that the cost can be computed again; None: none known."""
    cost_status: CostStatus = "unknown"
    """``measured``, ``estimated`` (see the bounds) or ``unknown``."""
    cost_pico_usd: int | None = None
    """The cost; None while any billable line is unknown."""
    known_pico_usd: int = 0
    """The sum of the lines that are known."""
    low_pico_usd: int | None = None
    """The least that it can have cost."""
    high_pico_usd: int | None = None
    """The most that it can have cost; None: no bound."""
    reserved_pico_usd: int | None = None
    """The worst case as foreseen at the begin. Where nothing bounds it: what it held of its
    budgets, which grows while it runs; None where it has none."""
    cost_lines: list[dict[str, Any]] = field(default_factory=list)
    """Dicts of strings or None: kind, quantity, unit_price_usd, usd, price_id, status."""
    choice: list[dict[str, Any]] | None = None
    """On the first attempt: the deployments that were considered, and what was expected of each;
    None: there was nothing to choose."""
    pending: list[str] = field(default_factory=list)
    """Charges that come later (``idle``) or that nobody counts here (``web_searches``)."""
    lookup: Literal["looked_up", "found", "gave_up"] | None = None
    """What came of asking the provider afterwards: it told of the job (``looked_up`` by its id,
    ``found`` by its time), or the gateway ``gave_up``; None: not asked, or no answer yet."""
    trace_id: str | None = None
    """The trace that its operation belongs to, 32 hex digits; None where none is recorded."""
    parent_span_id: str | None = None
    """The caller's span in that trace, 16 hex digits; None: the trace began here."""


@dataclass(slots=True)
class ChargeRow:
    """Money that belongs to no single attempt."""

    charge_id: str
    """Its own id."""
    kind: ChargeKind
    """What is paid for."""
    deployment: str
    """The deployment that it is paid for."""
    provider: str
    """The provider of that deployment."""
    period_start_at_us: int
    """Begin of the time that it covers; reports go by this."""
    period_end_at_us: int
    """End of that time."""
    rule: str
    """How it is allocated, by name."""
    status: CostStatus = "unknown"
    """As an attempt's ``cost_status``."""
    attempt_id: str | None = None
    """The attempt that ended last before an idle time."""
    quantity: str | None = None
    """How much was used, as an exact decimal."""
    unit_price_usd: str | None = None
    """The price of one, as an exact decimal."""
    price_id: str | None = None
    """Name and date of the price row."""
    cost_pico_usd: int | None = None
    """The cost; None: not known."""
    low_pico_usd: int | None = None
    """The least that it can have cost."""
    high_pico_usd: int | None = None
    """The most that it can have cost; None: no bound."""
    origin: Origin | None = None
    """``imported``: from a provider's own report; None: a gateway's, or as its attempt's."""


@dataclass(slots=True)
class OpenCharge:
    """Time that is to be charged and goes on, or will begin: what a restart has to know to book it.

    There is one of a kind at a deployment at most; a later one takes the place of an earlier.
    """

    kind: Literal["keep_warm", "standing"]
    """What is paid for."""
    deployment: str
    """The deployment that it is paid for."""
    provider: str
    """The provider of that deployment."""
    since_us: int
    """From when on it costs; this may lie ahead."""
    until_us: int | None = None
    """When it will be over, or was, if nothing else comes; None: it goes on."""
    unit_price_usd: str | None = None
    """The price of a second, as an exact decimal; None: not known."""
    price_id: str | None = None
    """Name and date of the price row."""
    works: bool = False
    """Its provider holds it, and it works: it costs as what is kept once that is over."""
    told_us: int | None = None
    """Up to here it is booked, by lines of an earlier file; None: nothing of it is."""
    used_at_us: int | None = None
    """When a request ended it, by a line of an earlier file; None: none did."""
