"""Operations: the answer of ``/v1/generate``, and what is said of them later."""

from __future__ import annotations

from typing import Any, Literal

from gateway.accounting.metering import CountSource
from gateway.http.openapi.base import Count, Decimals, Instant, Seconds, Share, Shown, Usd, UsdRange
from gateway.ledger.rows import AttemptStatus, CostStatus, Verdict
from gateway.warmth.outlook import State
from providers.contract.events import Channel, Evidence, OutputKind


class OutputPart(Shown):
    """One thing that was made."""

    type: OutputKind | Channel
    """What it is; ``reasoning`` and ``tool_call`` are texts of their own."""
    text: str | None = None
    """Of texts."""
    value: Any = None
    """Of ``json`` and ``embedding``: the value itself."""
    media_type: str | None = None
    """Of files: ``image/png`` say."""
    url: str | None = None
    """Where the provider keeps a file."""
    expires_at: Instant | None = None
    """Until when the address is good, as far as the provider says."""
    data: str | None = None
    """A file itself, in base64."""
    index: Count | None = None
    """Which of several choices; absent for the first."""


class Usage(Shown):
    """What was used. null: not known; 0: none."""

    input_tokens: Count | None
    """Tokens of the input."""
    output_tokens: Count | None
    """Tokens of the output."""
    cached_input_tokens: Count | None
    """Tokens of the input that the provider had cached."""
    reasoning_tokens: Count | None = None
    """Tokens of reasoning, a part of the output's, where there were any."""
    images: Count | None = None
    """Images that were made, where there were any."""
    source: CountSource | Literal["mixed"] | None
    """Where the token counts are from: the provider, a count by the gateway, or an estimate."""
    sources: dict[str, CountSource]
    """The same for each count."""


class CostLine(Shown):
    """One billed thing: a quantity, the price of one, and what that makes."""

    kind: str
    """What it is: ``execute_seconds``, ``boot_seconds``, ``input_tokens`` and so on."""
    quantity: Decimals | None
    """How much of it, in the unit of its kind, as decimal text."""
    unit_price_usd: Decimals | None
    """The price of one."""
    usd: Usd | None
    """What the line costs."""
    price_id: str | None
    """The dated row of the price book."""
    status: CostStatus
    """Whether the quantity was measured or estimated, or nobody knows it."""


class Cost(Shown):
    """What it cost, all attempts together."""

    total_usd: Usd | None
    """All of it; null while any part is unknown."""
    known_usd: Usd
    """What is known of it."""
    status: CostStatus
    """``measured`` only where all of it is."""
    range_usd: UsdRange | None
    """Between what it lies where it is not measured; null where it is."""
    pending: list[str]
    """What comes to the bill later: ``idle``."""
    lines: list[CostLine]
    """The lines of all attempts."""


class Timing(Shown):
    """Where the time went. Seconds; null: not known, or there was no such phase."""

    held_seconds: Seconds | None = None
    """Held at the gateway for a boot that another attempt had caused."""
    queue_seconds: Seconds | None
    """In the provider's queue."""
    boot_seconds: Seconds | None
    """Waiting for a boot."""
    wait_seconds: Seconds | None
    """Before work began: queue and boot, also where they cannot be told apart."""
    first_output_seconds: Seconds | None
    """From the begin to the first output."""
    execute_seconds: Seconds | None
    """Work."""
    gateway_seconds: Seconds | None
    """In the gateway itself."""
    total_seconds: Seconds | None
    """From the arrival of the request to the end, all attempts together."""
    unattended_seconds: Seconds | None = None
    """Of the attempt: after the last caller had left, or was told to come back and had not yet."""


class ColdStart(Shown):
    """Whether the attempt that answered waited for a boot, and how that is known."""

    verdict: Verdict
    """``cold`` and ``warm`` are proved, never guessed."""
    evidence: Evidence | None
    """What the verdict rests on."""
    caused_boot: bool | None
    """Whether it was this attempt that the boot happened for."""
    boot_seconds: Seconds | None
    """How long the boot took, as far as it was seen."""
    idle_before_seconds: Seconds | None
    """How long the deployment had done nothing before."""


class AttemptShown(Shown):
    """One dispatch to one deployment: where money is spent."""

    id: str
    """``att_`` and 22 hex digits."""
    deployment: str
    """Where it went."""
    status: AttemptStatus
    """How it ended."""
    upstream_id: str | None
    """The provider's own id of the job."""
    cost_usd: Usd | None
    """What it cost; null: not known."""
    verdict: Verdict
    """Whether it was cold."""
    lookup: Literal["looked_up", "found", "gave_up"] | None = None
    """What came of asking the provider afterwards, where that was done."""


class CandidateShown(Shown):
    """A deployment that was considered, and what was expected of it."""

    deployment: str
    """Its name."""
    provider: str
    """Whose it is."""
    expected_usd: Usd | None
    """What the call was expected to cost there; null: no price is known."""
    expected_wait_seconds: Seconds
    """How long it was expected to wait for output."""
    state: State
    """What was likeliest; how likely says ``p_warm``."""
    p_warm: Share
    """The chance that no boot is waited for, 0 to 1."""
    p_warm_evidence: Literal["kept", "supervised"] | None = None
    """``kept``: its keep-warm policy held it; ``supervised``: the gateway ran its process; null:
    what it was seen to do."""
    boot_seconds: Seconds
    """How long a boot takes on average, as it was counted with: where few were seen, drawn towards
    what is known of the provider, else towards a guess of 20 s."""
    excluded: str | None
    """Why it was not asked; null: it could have been."""
    replica_usd: Usd | None = None
    """Of one's own replicas: what the call adds to what they cost anyway."""
    hedge: str | None = None
    """What became of it in a hedge, where there was one."""
    dual_boot: str | None = None
    """What became of it where two were booted at once."""


class SoFarCost(Shown):
    """What it would be billed if it were cancelled now."""

    total_usd: Usd | None
    """All of it; null: not known."""
    known_usd: Usd
    """What is known of it."""
    status: CostStatus
    """``measured`` only where all of it is."""
    range_usd: UsdRange | None
    """Between what it lies where it is not measured; null where it is."""


class SoFar(Shown):
    """How an operation that runs would stand if it ended now."""

    cost: SoFarCost
    """Its bill, to the last digit, if it were cancelled now."""
    cold_start: ColdStart | None
    """Its verdict; null: no attempt has begun."""
    seconds: Seconds
    """Seconds since the request arrived."""


class ErrorBody(Shown):
    """Why it failed: a superset of OpenAI's error."""

    type: str
    """The class of the error, in OpenAI's words: ``invalid_request_error`` and so on."""
    code: str
    """What programs go by; the list is with each route."""
    message: str
    """For people: who must do what. Holds no key, input, output or address."""
    param: str | None
    """Which part of the request is meant."""
    operation_id: str | None
    """The operation, where one was begun."""
    retry_after_seconds: Seconds | None
    """When it is worth coming back, in seconds; also in the header ``Retry-After``."""
    cost: Cost | None
    """What the failure cost."""
    doc_url: str | None
    """Where more is said."""


class Error(Shown):
    """The one shape of every error."""

    error: ErrorBody
    """What went wrong."""


class HeldShown(Shown):
    """A wait at the gateway for a place at a deployment, before there is an attempt."""

    deployment: str
    """Where it will be sent."""
    waits_for: Literal["boot", "place"]
    """``boot``: it is off or boots, as far as is known; ``place``: all of its places are taken."""
    since: Instant
    """From when on."""


class Underway(Shown):
    """An operation that runs, or one that ended before it had an attempt."""

    id: str
    """``gen_`` and 22 hex digits."""
    model: str | None = None
    """The model that was asked for."""
    status: AttemptStatus | Literal["queued"]
    """Where it stands."""
    created_at: Instant | None = None
    """When the request arrived."""
    so_far: SoFar | None = None
    """What it has cost until now."""
    held: HeldShown | None = None
    """Where the gateway holds it back, if it does."""
    candidates: list[CandidateShown] | None = None
    """Why it goes there, where there was a choice."""
    output: list[OutputPart] | None = None
    """What it made, where that was kept."""
    error: ErrorBody | None = None
    """Why it failed, where that was kept."""


class Operation(Shown):
    """One call: what it made, used, cost and waited for."""

    id: str
    """``gen_`` and 22 hex digits."""
    model: str
    """The model that was asked for."""
    provider: str
    """Who answered."""
    deployment: str
    """Where the answer came from."""
    created_at: Instant
    """When the request arrived."""
    status: AttemptStatus
    """How it ended, or that it runs."""
    output: list[OutputPart] | None = None
    """What was made; later only where it was kept (``park``, ``Idempotency-Key``)."""
    finish_reason: str | None
    """Why the answer ended: ``stop``, ``length`` and so on, in the provider's words."""
    usage: Usage
    """What the attempt that answered used."""
    cost: Cost
    """What all attempts cost."""
    timing: Timing
    """Where the time went."""
    cold_start: ColdStart
    """The verdict on the attempt that answered."""
    attempts: list[AttemptShown]
    """All attempts, in order."""
    tags: dict[str, str]
    """As they were sent."""
    candidates: list[CandidateShown] | None = None
    """Why it went there, where there was a choice."""
    replayed_from: str | None = None
    """The operation whose kept answer this is; it cost nothing again."""
    error: ErrorBody | None = None
    """Why it failed, where that was kept."""


class DryRun(Shown):
    """Where a request would go; nothing was asked and nothing spent."""

    model: str
    """The model that was asked for."""
    dry_run: Literal[True]
    """It was one."""
    chosen: str | None
    """The deployment that would be asked first; null: none fits."""
    order: list[str]
    """All that would be asked, in order."""
    boots: list[str]
    """Two that would be booted at once, where all are cold."""
    candidates: list[CandidateShown]
    """What is expected of each."""
