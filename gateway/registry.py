"""Providers and deployments as configured: built, bound, priced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from gateway.accounting.boot_shares import BootShares
from gateway.accounting.idle import Machines
from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import Billed, Tariff
from gateway.accounting.sharing import Sharing
from gateway.accounting.usual import Usual
from gateway.execution.booting import can_boot_alone
from gateway.execution.prospect import Prospect
from gateway.execution.waking import Held, Waking
from gateway.limits.circuit import Circuit
from gateway.limits.gate import Gate
from gateway.plugins import installed, load_plugin, plugin_with_preset
from gateway.pricebook.configured import price_book, tariff_of
from gateway.settings import (
    ConfigError,
    DeploymentSettings,
    Limits,
    Settings,
    Timeouts,
    explain,
)
from gateway.tracing import exporter_installed
from gateway.warmth.outlook import Outlook
from gateway.warmth.priors import Prior, prior_of
from gateway.warmth.warmth import Warmth
from providers.contract import (
    Bounded,
    Deployment,
    Host,
    Http,
    Notifiable,
    Provider,
    ProviderPlugin,
    ProviderSettings,
    Scalable,
    Warmable,
)

WEBHOOKS_PATH = "/v1/webhooks"  # and the provider's name: where it posts messages about jobs


class Keeping(Protocol):
    """What keeps a deployment warm, told of its attempts."""

    def arrived(self) -> None: ...
    def begun(self) -> None: ...
    def ended(self, ready_us: int | None) -> None: ...
    def called_off(self) -> None: ...


@dataclass(slots=True)
class Target:
    """One bound deployment and what the gateway keeps about it while it runs."""

    name: str
    provider: str
    provider_model: str
    deployment: Deployment
    tariff: Tariff | None
    hardware: str | None
    limits: Limits
    timeouts: Timeouts
    config_revision: str
    gate: Gate[Held]
    warmth: Warmth
    waking: Waking
    estimator: TokenEstimator = field(default_factory=TokenEstimator)
    sharing: Sharing = field(default_factory=Sharing)
    machines: Machines | None = None
    boots: BootShares | None = None
    """Which boots are carried by whom; None where none is billed."""
    standing: int = 1
    usual: Usual = field(default_factory=Usual)
    circuit: Circuit = field(default_factory=Circuit)
    cordoned: bool = False
    last_ended_at: float | None = None
    running: int = 0
    keeper: Keeping | None = None
    own_window_seconds: float | None = None
    bounded: Bounded | None = None
    """Its deployment, where that can know a bound on its output."""
    can_boot_alone: bool = False
    prospect: Prospect = field(init=False)
    boots_beside: Target | None = None
    """The one that it is booted beside now, for a request that gets the first that is up."""

    def __post_init__(self) -> None:
        self.prospect = Prospect(
            self.name,
            self.provider,
            self.usual,
            self.estimator,
            own_window_seconds=self.own_window_seconds,
            can_boot=self.can_boot_alone,
        )

    def outlook(self, at: float) -> Outlook:
        """What a call that is sent at ``at`` (monotonic) can expect."""
        return self.warmth.expectation(at)

    def cancels(self, *, streamed: bool) -> bool:
        """Whether hanging up ends the work, of a request whose caller wants a stream or not."""
        capabilities = self.deployment.capabilities
        return capabilities.cancels or (capabilities.cancels_whole and not streamed)

    def bills(self, kind: Billed) -> bool:
        """Whether any of its prices charges for these seconds."""
        return self.tariff is not None and any(kind in row.bills for row in self.tariff.rows)


class Registry:
    """All that the configuration names, ready to be asked. Raises ConfigError on build."""

    def __init__(
        self,
        settings: Settings,
        open_http: Callable[[ProviderSettings], Http],
        plugins: Mapping[str, ProviderPlugin] | None = None,
    ) -> None:
        self._settings = settings
        self._open_http = open_http
        self._plugins = plugins
        self._providers: dict[str, tuple[ProviderPlugin, Provider, Http]] = {}
        self.prices = price_book(settings)
        self.targets: dict[str, Target] = {}

    def build(self) -> None:
        """Load, build and bind everything; nothing is dialled."""
        if self._settings.telemetry.exports and not exporter_installed():
            raise ConfigError(
                "telemetry: OpenTelemetry needs the extra otel: "
                "pip install 'serverless-inference-gateway[otel]'"
            )
        for name, deployment in self._settings.deployments.items():
            self.targets[name] = self._bind(name, deployment)

    def connect(self, name: str) -> tuple[ProviderPlugin, Provider]:
        """A provider by its name, whether or not a deployment uses it. Raises ConfigError."""
        return self._provider(name, f"providers.{name}")

    def notifiable(self, name: str) -> Notifiable | None:
        """A provider in use that takes messages about its jobs; None: there is no such."""
        known = self._providers.get(name)
        return known[1] if known is not None and isinstance(known[1], Notifiable) else None

    async def aclose(self) -> None:
        """Close providers and their connections."""
        for _, provider, http in self._providers.values():
            await provider.aclose()
            await http.aclose()

    def _bind(self, name: str, given: DeploymentSettings) -> Target:
        place = f"deployments.{name}"
        plugin, provider = self._provider(given.provider, place)
        try:
            options = plugin.options.model_validate(given.options)
        except ValidationError as error:
            raise ConfigError(explain(error, f"{place}: ")) from error
        try:
            deployment = provider.bind(given.model, options)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from error
        tariff = tariff_of(name, given, self.prices, self._settings.providers)
        limits, warmth = given.limits, Warmth(_prior(plugin.name, given, tariff, deployment))
        known = given.idle_window_seconds or deployment.capabilities.keep_alive_seconds
        gate = Gate[Held](limits.max_concurrency, limits.max_queued, limits.max_queued_bytes)
        target = Target(
            name=name,
            provider=given.provider,
            provider_model=given.model,
            deployment=deployment,
            tariff=tariff,
            hardware=given.hardware,
            limits=limits,
            timeouts=given.timeouts or self._settings.timeouts,
            config_revision=self._settings.revision,
            gate=gate,
            warmth=warmth,
            waking=Waking(gate, warmth, limits.max_concurrency_cold, limits.cold_proof_seconds),
            standing=given.standing_machines,
            own_window_seconds=known,
            bounded=deployment if isinstance(deployment, Bounded) else None,
            can_boot_alone=can_boot_alone(deployment),
        )
        if given.keep_warm is not None:
            if not isinstance(deployment, Scalable | Warmable):
                raise ConfigError(f"{place}.keep_warm: its provider can neither scale nor boot it")
            if known is None and target.bills("idle"):
                raise ConfigError(f"{place}.idle_window_seconds: keep_warm has to know it")
        shared = any(row.shared for row in target.tariff.rows) if target.tariff else False
        if target.bills("idle"):
            target.machines = Machines(known, shared=shared)
        if target.bills("boot"):
            target.boots = BootShares(shared=shared)
        return target

    def _provider(self, name: str, place: str) -> tuple[ProviderPlugin, Provider]:
        known = self._providers.get(name)
        if known is not None:
            return known[0], known[1]
        block = dict(self._settings.providers.get(name, {}))
        kind = block.pop("kind", name)
        plugin = self._find(kind, f"providers.{name}" if block else f"{place}.provider")
        preset = plugin.presets.get(name)
        if preset is not None:
            block = {**preset, **block}
        try:
            settings = plugin.settings.model_validate(block)
        except ValidationError as error:
            raise ConfigError(explain(error, f"providers.{name}: ")) from error
        http = self._open_http(settings)
        data_dir = self._settings.server.data_dir / "providers" / name
        try:
            provider = plugin.build(settings, Host(http, data_dir, f"{WEBHOOKS_PATH}/{name}"))
        except ValueError as error:
            raise ConfigError(f"providers.{name}: {error}") from error
        self._providers[name] = (plugin, provider, http)
        return plugin, provider

    def _find(self, kind: str, place: str) -> ProviderPlugin:
        if self._plugins is not None and kind in self._plugins:
            return self._plugins[kind]
        found = installed()
        entry = found.get(kind)
        if entry is None:
            preset_of = plugin_with_preset(found, kind)
            if preset_of is not None:
                return preset_of
            raise ConfigError(f"{place}: no provider plugin named {kind!r} is installed")
        return load_plugin(entry, place)


def _prior(
    plugin: str, given: DeploymentSettings, tariff: Tariff | None, deployment: Deployment
) -> Prior:
    """What is believed of its warmth before it was ever asked."""
    rows = () if tariff is None else tariff.rows
    return prior_of(
        (*(() if tariff is None else (tariff.name,)), given.provider, plugin),
        idle_window_seconds=given.idle_window_seconds,
        keep_alive_seconds=deployment.capabilities.keep_alive_seconds,
        bills=None if tariff is None else frozenset().union(*(row.bills for row in rows)),
        per_second=any(row.usd_per_second is not None for row in rows),
    )


def provider_dir(settings: Settings, name: str) -> Path:
    """The folder that a provider may call its own."""
    return settings.server.data_dir / "providers" / name
