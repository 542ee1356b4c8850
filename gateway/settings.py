"""Configuration: defaults < file < environment. Read once, in ``cli/``, and passed down.

The file is YAML. ``${NAME}`` in it stands for an environment variable and ``${file:/path}`` for
the text of a file; a missing one is an error that names the place. ``GATEWAY__SERVER__PORT=9000``
overrides ``server.port``; every such variable must be a known key, as in the file, because a
misspelt one that is ignored is a silent lie (pydantic-settings ignores them).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from gateway.accounting.prices import PriceRow
from gateway.alert_settings import AlertSettings
from gateway.configuration import PREFIX, from_environment, from_file, merge
from gateway.configuration import ConfigError as ConfigError
from gateway.configuration import is_loopback as is_loopback
from gateway.keeping.settings import KeepWarmSettings
from gateway.model_settings import ModelSettings
from gateway.price_settings import InlinePrice as InlinePrice
from gateway.price_settings import PriceBookSettings
from gateway.reconciliation.options import ReconciliationSettings
from gateway.telemetry_settings import TelemetrySettings

Scope: TypeAlias = Literal["generate", "reports", "admin"]
Per: TypeAlias = Literal["hour", "day", "month", "total"]
Usd: TypeAlias = Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=12)]
TagName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ServerSettings(_Section):
    """Where the gateway listens and what it accepts."""

    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback, keys are required."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    data_dir: Path = Path("gateway-data")
    """Folder of the journal, the ledger and fetched weights; one gateway holds it at a time."""
    max_body_bytes: int = Field(default=16 << 20, ge=1024)
    """Largest request body; a larger one is refused with 413."""
    body_timeout_seconds: float = Field(default=4.0, gt=0)
    """Longest wait for a request body; 16 KiB received buy one more second."""
    keep_alive_seconds: float = Field(default=10.0, gt=0)
    """A comment is sent on a silent event stream this often."""
    disconnect_grace_seconds: float = Field(default=5.0, ge=0)
    """A call with an ``Idempotency-Key`` whose callers have all left is stopped after this time,
    unless the same call comes again; one without a key is stopped at once."""
    keep_answers_seconds: float = Field(default=86_400.0, gt=0)
    """Parked answers, and those of calls with an ``Idempotency-Key``, are kept for so long."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """On shutdown, running operations get this long before they are cancelled."""
    budget_wait_seconds: float = Field(default=5.0, ge=0)
    """After a start: longest wait of a request for what its budgets have spent; then 503."""
    allowed_hosts: tuple[str, ...] = ()
    """Further ``Host`` names accepted when ``auth.mode`` is none (loopback names always are)."""


class KeySettings(_Section):
    """An API key, known by its hash only."""

    name: str = Field(min_length=1, max_length=64)
    """The key's id in the ledger."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the key, in hex: ``gateway keys create --for-config`` prints both."""
    scopes: frozenset[Scope] = frozenset({"generate"})
    """generate: call models, see own operations; reports: see all; admin: everything."""
    models: frozenset[str] | None = None
    """The models that it may ask for, by the name that is asked for; unset: all."""
    expires_at: AwareDatetime | None = None
    """From then on it is refused."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests that it may make in a minute."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Tokens, in and out, that it may use in a minute."""


class AuthSettings(_Section):
    """Who may call."""

    mode: Literal["none", "keys"] | None = None
    """none (loopback only) or keys; unset: none on loopback while no key is configured."""
    keys: tuple[KeySettings, ...] = ()
    """The accepted keys."""


class JournalSettings(_Section):
    """How hard the journal holds on."""

    fsync: Literal["never", "group"] = "never"
    """never: survives the death of the process; group: of the machine too (answers wait for it)."""
    rotate_bytes: int = Field(default=64 << 20, ge=1 << 16)
    """Size at which a new journal file is begun."""


class LedgerSettings(_Section):
    """What is kept of attempts, and how it is summed up."""

    attempts_days: int | None = Field(default=400, ge=31)
    """Months that are wholly older are deleted; hourly sums stay. null keeps all."""
    rollup_tags: tuple[TagName, ...] = Field(default=(), max_length=4)
    """Tags that the ledger's sums tell apart, also of what is there already; reports by other tags
    read every attempt of their range, and are refused beyond 100,000."""


class Timeouts(_Section):
    """Budgets of one attempt by phase, in seconds. A cold boot is no error; a dead stream is."""

    queue_seconds: float = Field(default=300, gt=0)
    """Waiting in the provider's queue."""
    boot_seconds: float = Field(default=600, gt=0)
    """Waiting for a boot."""
    first_output_seconds: float = Field(default=120, gt=0)
    """From the begin of work to the first output; not for an unstreamed call with an input in the
    model's own words, whose output comes in one piece."""
    stall_seconds: float = Field(default=60, gt=0)
    """Between two outputs of a stream."""
    total_seconds: float = Field(default=900, gt=0)
    """The whole operation, all attempts together."""


class Limits(_Section):
    """What one deployment is asked to bear."""

    max_concurrency: int = Field(default=256, ge=1)
    """Attempts running at once."""
    max_queued: int = Field(default=1024, ge=0)
    """Operations waiting for a place; one more is refused with 503."""
    max_queued_bytes: int = Field(default=64 << 20, ge=0)
    """What their inputs may weigh together; one more is refused with 503."""
    max_concurrency_cold: int | None = Field(default=1, ge=1)
    """Attempts sent at once while it is off or boots; the others wait until work has begun there.
    null: as many as ever, for a provider that starts more machines the more requests wait there."""
    cold_proof_seconds: float = Field(default=2.0, ge=0)
    """They wait no longer than this for a boot that nothing has shown yet."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Largest answer that a caller may ask for."""


class DeploymentSettings(BaseModel):
    """One configured way to run one model at one provider.

    Keys not listed here are the provider's own options; its plugin checks them.
    """

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    provider: str
    """Name of a provider block, or of a plugin that needs none."""
    model: str
    """The provider's own name of the model."""
    price: str | InlinePrice | None = None
    """Name of a price, or the price itself; ``genai-prices`` or
    ``genai-prices:<provider>/<model>``: from that package. Unset: the cost is unknown, never 0."""
    hardware: str | None = None
    """What it runs on; kept with each attempt."""
    idle_window_seconds: float | None = Field(default=None, gt=0)
    """How long a machine stays up after its last request, for prices that bill idle time; unset:
    what the provider's plugin knows."""
    standing_machines: int = Field(default=1, ge=1)
    """How many machines stand, for prices that bill ``standing`` seconds."""
    keep_warm: KeepWarmSettings | None = None
    """How it is kept warm; unset: as its provider does by itself."""
    limits: Limits = Limits()
    """What it is asked to bear."""
    timeouts: Timeouts | None = None
    """Its own budgets; unset: the gateway's."""

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the plugin."""
        return dict(self.model_extra or {})


class RetrySettings(_Section):
    """What happens when an attempt fails before its first output."""

    attempts_per_deployment: int = Field(default=2, ge=1, le=10)
    """Attempts on one deployment before the next one is tried."""
    backoff_seconds: float = Field(default=0.25, ge=0)
    """First pause; doubles each time, with jitter."""
    max_wait_seconds: float = Field(default=5.0, ge=0)
    """Longest ``Retry-After`` that is waited out; a longer one ends the deployment's turn."""


class RateLimitSettings(_Section):
    """What all callers together may ask for; a key can have limits of its own."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests in a minute."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Tokens in a minute, in and out."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}") from None
    return name


class Allowance(_Section):
    """So much money in so much time."""

    limit_usd: Usd
    """The most that may be spent, in USD; a decimal in quotation marks."""
    per: Per
    """When it begins anew: each hour, day or month of its time zone, or never (total, as far back
    as the ledger holds attempts: ``ledger.attempts_days``)."""
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """Where its days and months begin."""
    allow_unpriced: bool = False
    """Let attempts through whose price is not known; they count as unknown, not as 0."""
    slice_usd: Usd | None = None
    """What an attempt without a bound sets aside at a time; unset: by its price."""


class BudgetSettings(Allowance):
    """A limit on what is spent; money is set aside before each attempt.

    It is about one key, about operations with these tags, or about the whole gateway.
    """

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """What errors and reports call it."""
    key: str | None = None
    """Only what this key asks for."""
    tag: dict[str, str] | None = Field(default=None, min_length=1)
    """Only operations with all of these tags."""


class Settings(_Section):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    journal: JournalSettings = JournalSettings()
    ledger: LedgerSettings = LedgerSettings()
    timeouts: Timeouts = Timeouts()
    retries: RetrySettings = RetrySettings()
    reconciliation: ReconciliationSettings = ReconciliationSettings()
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Provider blocks by name; ``kind`` names the plugin where the block's name does not."""
    deployments: dict[str, DeploymentSettings] = Field(default_factory=dict)
    """Deployments by name."""
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    """Public models by name."""
    prices: tuple[PriceRow, ...] = ()
    """Further price rows; the built-in ones stay."""
    budgets: tuple[BudgetSettings, ...] = ()
    """Limits on what is spent."""
    rate_limits: RateLimitSettings = RateLimitSettings()
    """What all callers together may ask for."""
    price_book: PriceBookSettings = PriceBookSettings()
    alerts: tuple[AlertSettings, ...] = ()
    """Whom to tell when cold starts become more, or slower."""
    telemetry: TelemetrySettings = TelemetrySettings()
    revision: str = "default"
    """Digest of the configuration as written; kept with each attempt."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Settings:
        for section, names in (("providers", self.providers), ("deployments", self.deployments)):
            for name in names:
                if _NAME.fullmatch(name) is None:  # it stands in headers, labels and folders
                    raise ValueError(f"{section}: {name!r} is no name: use letters, digits, . _ -")
        for name, model in self.models.items():
            if name.startswith("deployment:"):
                raise ValueError(f"models.{name}: names beginning with 'deployment:' are taken")
            for deployment in model.deployments:
                if deployment not in self.deployments:
                    raise ValueError(f"models.{name}: no deployment named {deployment!r}")
        keys = [key.name for key in self.auth.keys]
        if len(set(keys)) != len(keys):
            raise ValueError("auth.keys: two keys have the same name")
        budgets = [budget.name for budget in self.budgets]
        if len(set(budgets)) != len(budgets):
            raise ValueError("budgets: two budgets have the same name")
        for alert in self.alerts:
            for name in alert.deployments or ():
                if name not in self.deployments:
                    raise ValueError(f"alerts: {alert.name!r}: no deployment named {name!r}")
        for budget in self.budgets:
            if budget.key is not None and budget.tag is not None:
                raise ValueError(f"budgets: {budget.name!r} is about a key or a tag, not both")
            if budget.key is not None and not self.needs_keys:
                raise ValueError(
                    f"budgets: {budget.name!r} is about a key, and keys are off; "
                    "set auth.mode: keys"
                )
        if self.auth.mode == "none" and self.auth.keys:
            raise ValueError("auth.keys: these keys would be ignored; set auth.mode: keys")
        if self.auth.mode == "none" and not self.on_loopback:
            raise ValueError(
                "auth.mode: none is only allowed on a loopback address; "
                "set auth.mode: keys or server.host: 127.0.0.1"
            )
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the gateway listens to this machine alone."""
        return is_loopback(self.server.host)

    @property
    def needs_keys(self) -> bool:
        """Whether callers must show a key."""
        if self.auth.mode is None:
            return bool(self.auth.keys) or not self.on_loopback
        return self.auth.mode == "keys"


DEFAULTS: dict[str, Any] = {
    "deployments": {
        "local-smollm2": {
            "provider": "local",
            "model": "smollm2-135m-instruct",
            "price": "local-cpu",
            "hardware": "cpu",
        }
    },
    "models": {"smollm2": {"deployments": ["local-smollm2"]}},
}


def load(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The configuration of a file (None: the embedded local model), environment and command line.

    ``overrides`` is a tree like the file's and wins over everything. Raises ConfigError.
    """
    tree, written = ({}, b"") if path is None else from_file(path, environ)
    changed = from_environment(environ)
    merge(tree, changed)
    merge(tree, overrides or {})
    if "revision" in tree:
        raise ConfigError(f"{'' if path is None else f'{path}: '}revision: unknown key")
    if not tree.get("deployments") and not tree.get("models"):
        merge(tree, DEFAULTS)
    digest = hashlib.sha256(written)
    digest.update("\n".join(sorted(key for key in environ if key.startswith(PREFIX))).encode())
    tree["revision"] = digest.hexdigest()[:12] if written or changed else "default"
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain(error, "" if path is None else f"{path}: ")) from error
    used = {deployment.provider for deployment in settings.deployments.values()}
    for name in changed.get("providers") or {}:
        if name not in used:
            variable = f"{PREFIX}PROVIDERS__{name.upper()}"
            raise ConfigError(f"{variable}: no deployment uses a provider named {name!r}")
    return settings


def explain(error: ValidationError, prefix: str = "") -> str:
    """A validation error as one line per fault: where and why, without the value."""
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "unknown key"
        elif fault["type"] == "tuple_type":
            message = "Input should be a list"
        lines.append(f"{prefix}{place}: {message}" if place else f"{prefix}{message}")
    return "\n".join(lines)
