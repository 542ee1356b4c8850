"""How deployments stand, keys, models, health."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.http.openapi.base import Count, Instant, Page, Seconds, Share, Shown, Usd
from gateway.settings import Per, Scope
from gateway.warmth.calibration import Verdict as CalibrationVerdict
from gateway.warmth.outlook import State
from gateway.warmth.stand import SeenBy, SeenState


class LastError(Shown):
    """Why the last attempt that failed there did."""

    type: str
    """The class of the error."""
    at: Instant
    """When (RFC 3339, UTC)."""


class LastSeen(Shown):
    """A state that was seen, and no belief."""

    state: SeenState
    """How it stood then."""
    by: SeenBy
    """What showed it: an ``attempt``, by its work or its boot; a ``probe``, its provider's answer
    to a question; the ``process`` that the gateway runs itself."""
    at: Instant
    """When (RFC 3339, UTC). What is seen all the time: now."""


class DeploymentShown(Shown):
    """One deployment, and what a call that is sent now can expect there."""

    name: str
    """As it is configured."""
    provider: str
    """Whose it is."""
    provider_model: str
    """What the provider calls the model."""
    hardware: str | None
    """As it is configured."""
    cordoned: bool
    """Whether it is out of service."""
    closed: str | None
    """Why nothing is sent there now; null: it is open."""
    running: Count
    """Attempts that run there."""
    queued: Count
    """Operations that wait at the gateway for a place there."""
    queued_since: Instant | None
    """From when on the first of them does (RFC 3339, UTC); null: none does."""
    warming: bool
    """Whether it is being booted without work."""
    can_be_warmed: bool
    """Whether its provider has a way to do that."""
    state: State
    """What is likeliest; ``unknown`` where there is nothing but a guess."""
    stands: str
    """In words: the state alone where it was seen and is at least 95 % sure, ``likely warm`` or
    ``likely off`` where that is believed."""
    last_seen: LastSeen | None
    """When its state was seen last; null: never."""
    p_warm: Share | None
    """The chance that a call waits for no boot, 0 to 1; null: nobody knows."""
    p_warm_evidence: Literal["kept", "supervised"] | None
    """``kept``: its keep-warm policy holds it now; ``supervised``: the gateway runs its process;
    null: what it was seen to do."""
    boot_seconds: Seconds | None
    """How long a boot takes on average; null: nobody knows."""
    expected_wait_seconds: Seconds | None
    """How long a call is expected to wait for output; null: nobody knows."""
    booting_left_seconds: Seconds | None
    """What is left of the boot that runs; null: none does."""
    warm_until: Instant | None
    """Until when it is expected to be up (RFC 3339, UTC)."""
    last_error: LastError | None
    """Since the start of the gateway; null: there was none."""


class Deployments(Page[DeploymentShown]):
    """Every deployment, in the configuration's order."""


class KeepAlivePrior(Shown):
    """What was assumed before anything was seen."""

    p50_seconds: Seconds
    """Half stay up for so long."""
    source: str
    """Who says so."""


class CurvePoint(Shown):
    """The chance to be up after some time without work."""

    idle_seconds: Seconds
    """Time without work."""
    p_warm: Share
    """The chance, 0 to 1."""
    low: Share
    """The lower end of its 95 % interval, 0 to 1."""
    high: Share
    """The upper end, 0 to 1."""
    observed: float
    """Outcomes behind it, by weight."""


class KeepAlive(Shown):
    """How long it stays up without work."""

    p50_seconds: Seconds | None
    """Half of the times it stays up for so long."""
    observed: float
    """Outcomes that were seen."""
    prior: KeepAlivePrior
    """What was assumed before."""
    curve: list[CurvePoint]
    """The chance by time without work."""


class HourStep(Shown):
    """How much more or less likely it is up in one hour of the day."""

    hour: Count
    """Hour of the day, 0 to 23 (UTC)."""
    log_odds: float
    """The step of the log-odds."""


class BootPart(Shown):
    """One of the lognormal distributions that boots are a mixture of."""

    share: Share
    """Its part, 0 to 1."""
    median_seconds: Seconds | None
    """Its median."""
    spread: float
    """Its sigma."""


class BootsLearned(Shown):
    """How long boots take."""

    p50: Seconds | None
    """Half take at most so many seconds."""
    p90: Seconds | None
    """Nine in ten take at most so many seconds."""
    p99: Seconds | None
    """99 in 100 take at most so many seconds."""
    observed: Count
    """Boots that were seen."""
    parts: list[BootPart]
    """The mixture."""


class ReliabilityBin(Shown):
    """Predictions of about one chance, and how often it was so."""

    from_: Share = Field(alias="from")
    """Lower edge of the chances, 0 to 1."""
    to: Share
    """Upper edge of the chances, 0 to 1."""
    count: Count
    """Predictions."""
    predicted: Share | None
    """Their mean; null: there were none."""
    happened: Share | None
    """How often it was warm; null: there were none."""
    low: Share | None
    """The lower end of that one's 95 % interval, 0 to 1."""
    high: Share | None
    """The upper end, 0 to 1."""


class Calibration(Shown):
    """How good the predictions were."""

    predictions: Count
    """How many were held against what happened."""
    brier_score: float | None
    """Mean squared error of the chance; null: there were none."""
    error: float | None
    """Mean distance between chance and frequency; null: there were none."""
    error_by_chance: float | None
    """What that comes to at most, in 95 of 100 times, where all chances are right and outcomes fall
    as they do; null: there were none."""
    verdict: CalibrationVerdict | None
    """``beyond_chance``: the error is larger; ``within_chance``: it is not, and would have shown
    from 0.05 on; ``too_few``: it is not, and would not have; null: there were none."""
    reliability: list[ReliabilityBin]
    """The same by chance."""


class EvidenceCounts(Shown):
    """What the knowledge rests on."""

    warm: Count
    """Attempts that were proved warm."""
    cold: Count
    """Attempts that were proved cold."""
    unknown: Count
    """Attempts without proof."""
    boots: Count
    """Boots that were caused."""
    scale_outs: Count
    """Boots beside machines that ran."""
    new_revisions: Count
    """Boots of a revision that was not seen before."""


class WarmthRow(Shown):
    """What is known and learned of one deployment."""

    deployment: str
    """Its name."""
    provider: str
    """Whose it is."""
    state: State
    """What is likeliest; ``unknown`` where there is nothing but a guess."""
    stands: str
    """In words: the state alone where it was seen and is at least 95 % sure, ``likely warm`` or
    ``likely off`` where that is believed."""
    last_seen: LastSeen | None
    """When its state was seen last; null: never."""
    p_warm: Share | None
    """The chance that a call waits for no boot, 0 to 1; null: nobody knows."""
    p_warm_evidence: Literal["kept", "supervised"] | None
    """``kept``: its keep-warm policy holds it now; ``supervised``: the gateway runs its process;
    null: what it was seen to do."""
    expected_wait_seconds: Seconds | None
    """How long a call is expected to wait for a boot; null: nobody knows."""
    expected_boot_seconds: Seconds | None
    """How long a boot takes on average; null: nobody knows."""
    booting_left_seconds: Seconds | None
    """What is left of the boot that runs; null: none does."""
    running: Count
    """Attempts that run there."""
    last_used_at: Instant | None
    """When the last work there ended."""
    warm_until_at: Instant | None
    """Until when it is expected to be up."""
    keep_alive: KeepAlive
    """How long it stays up without work."""
    hours: list[HourStep]
    """Hours of the day that make a difference."""
    boot_seconds: BootsLearned
    """How long boots take."""
    calibration: Calibration
    """How good the predictions were."""
    evidence: EvidenceCounts
    """What the knowledge rests on."""


class Warmths(Page[WarmthRow]):
    """Every deployment that was asked about."""


class KeyBudget(Shown):
    """What may be spent with a key."""

    name: str
    """What errors call it."""
    limit_usd: Usd
    """The most that may be spent."""
    per: Per
    """When it begins anew."""


class KeyShown(Shown):
    """A key, without its secret."""

    name: str
    """Its id in the ledger."""
    source: Literal["configuration", "store"]
    """Where it stands."""
    status: Literal["active", "expired", "revoked"]
    """Whether it opens anything."""
    scopes: list[Scope]
    """What it opens."""
    models: list[str] | None
    """The models that it may ask for; null: all."""
    created_at: Instant | None
    """When it was made; null: it stands in the configuration."""
    expires_at: Instant | None
    """From when on it is refused; null: never."""
    revoked_at: Instant | None
    """When it was revoked."""
    old_secret_until: Instant | None
    """Until when the secret before the last rotation is good (RFC 3339, UTC)."""
    requests_per_minute: Count | None
    """Requests that it may make in a minute; null: any number."""
    tokens_per_minute: Count | None
    """Tokens, in and out, that it may use in a minute; null: any number."""
    budgets: list[KeyBudget]
    """What may be spent with it."""
    sha256_begins: str
    """The first eight digits of its hash."""


class KeyMade(KeyShown):
    """A new key, or a new secret of one."""

    key: str
    """The secret: in this answer and nowhere else."""


class Keys(Page[KeyShown]):
    """Every key, revoked ones too."""


class ModelShown(Shown):
    """A model in OpenAI's shape."""

    id: str
    """What requests call it."""
    object: Literal["model"]
    """What this is."""
    created: int
    """When the gateway started, in seconds since the epoch, UTC."""
    owned_by: Literal["gateway"]
    """Always the same."""


class Models(Shown):
    """The models that the caller may ask for."""

    object: Literal["list"]
    """What this is."""
    data: list[ModelShown]
    """In the configuration's order."""


class Health(Shown):
    """The process lives."""

    status: Literal["ok"]
    """Always the same."""


class Checks(Shown):
    """What readiness is made of."""

    accepting: bool
    """New operations are taken: it is not shutting down."""
    journal: bool
    """The journal can be written."""
    shipper: bool
    """The process that fills the database runs."""
    database: bool
    """The database has all that has ended. Without it requests go on, and reports grow old."""


class Readiness(Shown):
    """Whether new operations are taken."""

    status: Literal["ready", "not_ready"]
    """Both ``accepting`` and ``journal``, or not."""
    checks: Checks
    """One by one."""
