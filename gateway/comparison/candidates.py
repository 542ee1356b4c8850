"""Every place that could serve the requests: deployments, prices for the same card, an own one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gateway.accounting.prices import PriceBook, PriceRow
from gateway.comparison.ask import Ask, OwnGpu
from gateway.estimates.hardware import Hardware, hardware_of
from gateway.ledger.errors import BadQuery
from gateway.pricebook.configured import tariff_of
from gateway.settings import DeploymentSettings, Settings
from gateway.warmth.arrivals import Measured, rank
from gateway.warmth.facts import Fact, fact_of

Kind: TypeAlias = Literal["deployment", "price_row", "own_gpu"]
ASSUMED_KEEP_ALIVE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Boot:
    """How long a boot takes, and who says so."""

    seconds: float
    low: float
    high: float
    status: Literal["measured", "estimated", "given"]
    basis: str


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """How long a replica stays without work; ``seconds`` None: it is always up."""

    seconds: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place. ``row`` None: its price is not known, or it is one's own."""

    name: str
    kind: Kind
    provider: str | None
    row: PriceRow | None
    hardware: Hardware | None
    boot: Boot | None
    keep_alive: KeepAlive
    places: int | None = None
    fact: Fact | None = None
    machines: int = 1
    """How many stand, where standing ones are paid for."""
    own: OwnGpu | None = None

    @property
    def shared_pool(self) -> bool:
        """Whether others' requests keep its machines warm."""
        return self.fact is not None and self.fact.shared_pool

    @property
    def has_replica(self) -> bool:
        """Whether seconds are paid for, so that a replica of one's own is what it is about."""
        return self.own is not None or (
            self.row is not None and self.row.usd_per_second is not None
        )


_NONE = Boot(0.0, 0.0, 0.0, "given", "it stays up")
_STANDS = KeepAlive(None, "its price is for machines that stand")


def candidates(
    settings: Settings,
    book: PriceBook,
    ask: Ask,
    measured: dict[str, Measured],
    now_us: int,
) -> list[Candidate]:
    """All of them. Raises BadQuery on a model or a price that is not there."""
    found = []
    for name in deployments_of(settings, ask.model):
        given = settings.deployments[name]
        tariff = tariff_of(name, given, book, settings.providers)
        row = None if tariff is None else tariff.at(now_us)
        fact = fact_of(_price_family(given, settings))
        found.append(
            Candidate(
                name=name,
                kind="deployment",
                provider=given.provider,
                row=row,
                hardware=hardware_of(given.hardware) or hardware_of(row.name if row else None),
                boot=_NONE if _stands(row) else _boot(ask, fact, measured.get(name)),
                keep_alive=_STANDS if _stands(row) else _keep_alive(ask, fact, given, settings),
                machines=given.standing_machines if _stands(row) else 1,
                places=ask.places or _places(given, settings),
                fact=fact,
            )
        )
    used = {candidate.row.name for candidate in found if candidate.row is not None}
    for row in _tied(settings, book, ask, found, now_us):
        if row.name in used:
            continue
        used.add(row.name)
        fact = fact_of(row.name)
        found.append(
            Candidate(
                name=row.name,
                kind="price_row",
                provider=None,
                row=row,
                hardware=hardware_of(row.name),
                boot=_NONE if _stands(row) else _boot(ask, fact, None),
                keep_alive=_STANDS if _stands(row) else _keep_alive(ask, fact, None, settings),
                places=ask.places,
                fact=fact,
            )
        )
    if ask.own_gpu is not None:
        found.append(
            Candidate(
                name=f"own {ask.own_gpu.hardware}",
                kind="own_gpu",
                provider=None,
                row=None,
                hardware=ask.own_gpu.hardware,
                boot=_NONE,
                keep_alive=KeepAlive(None, "it is yours and stays up"),
                places=ask.places,
                own=ask.own_gpu,
            )
        )
    return found


def deployments_of(settings: Settings, model: str) -> tuple[str, ...]:
    """The deployments behind a model's name. Raises BadQuery."""
    name = model.removeprefix("deployment:")
    if model in settings.models:
        return settings.models[model].deployments
    if name != model and name in settings.deployments:
        return (name,)
    raise BadQuery("model", f"No model named {model!r} is configured.")


def _tied(
    settings: Settings, book: PriceBook, ask: Ask, found: list[Candidate], now_us: int
) -> list[PriceRow]:
    """Rows that were asked for, that are for the same card, or that name the same model."""
    cards = {candidate.hardware for candidate in found if candidate.hardware is not None}
    models = {
        settings.deployments[candidate.name].model.rpartition("/")[2].lower().partition(":")[0]
        for candidate in found
    }
    rows = []
    for name in ask.prices:
        tariff = book.find(name)
        row = None if tariff is None else tariff.at(now_us)
        if row is None:
            raise BadQuery("price", f"No price named {name!r} is in force.")
        rows.append(row)
    for name in book.names():
        tied = hardware_of(name) in cards or any(
            len(model) > 3 and f"-{model}-" in f"-{name.lower()}-" for model in models
        )
        tariff = book.find(name) if tied else None
        row = None if tariff is None else tariff.at(now_us)
        if row is not None:
            rows.append(row)
    return rows


def _stands(row: PriceRow | None) -> bool:
    return row is not None and "standing" in row.bills


def _boot(ask: Ask, fact: Fact | None, seen: Measured | None) -> Boot | None:
    if ask.boot_seconds is not None:
        return Boot(*(ask.boot_seconds,) * 3, "given", "as asked")
    if seen is not None and seen.boot_seconds:
        ordered = sorted(seen.boot_seconds)
        middle, low, high = (rank(ordered, share) or 0.0 for share in (0.5, 0.1, 0.9))
        return Boot(middle, low, high, "measured", f"median of {len(ordered):,} measured boots")
    if fact is not None and fact.boot_seconds is not None:
        low, high = fact.boot_seconds
        return Boot((low + high) / 2, low, high, "estimated", f"known of {fact.name}")
    return None


def _keep_alive(
    ask: Ask, fact: Fact | None, given: DeploymentSettings | None, settings: Settings
) -> KeepAlive:
    if ask.keep_alive_seconds is not None:
        return KeepAlive(ask.keep_alive_seconds, "as asked")
    if given is not None and given.idle_window_seconds is not None:
        return KeepAlive(given.idle_window_seconds, "idle_window_seconds")
    if given is not None and _plugin(given, settings) == "local":
        if given.options.get("url") is not None:
            kept = given.options.get("keep_alive_seconds")
            if kept is not None and int(kept) >= 0:
                return KeepAlive(float(kept), "keep_alive_seconds")
            return KeepAlive(None, "it runs already")
        idle = given.options.get("idle_timeout_seconds", ASSUMED_KEEP_ALIVE_SECONDS)
        return KeepAlive(None if idle is None else float(idle), "idle_timeout_seconds")
    if fact is not None and fact.keep_alive_seconds is not None:
        return KeepAlive(fact.keep_alive_seconds, f"known of {fact.name}")
    return KeepAlive(ASSUMED_KEEP_ALIVE_SECONDS, "assumed: nobody says")


def _places(given: DeploymentSettings, settings: Settings) -> int | None:
    """The embedded engine works on so many at once."""
    options: dict[str, Any] = given.options
    if _plugin(given, settings) != "local" or options.get("url") or options.get("command"):
        return None
    return int(options.get("slots", 2))


def _plugin(given: DeploymentSettings, settings: Settings) -> str:
    return str(settings.providers.get(given.provider, {}).get("kind", given.provider))


def _price_family(given: DeploymentSettings, settings: Settings) -> str:
    """The word by which facts know a deployment: its price's name says more than its plugin's."""
    if isinstance(given.price, str) and fact_of(given.price) is not None:
        return given.price
    return _plugin(given, settings)
