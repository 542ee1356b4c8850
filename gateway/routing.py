"""From the name an app asks for to the deployments to try, in order. Pure.

``Routes`` finds a model's deployments, ``choose`` puts them in order: a function of what the
request wishes, of what is expected of each deployment (its price, its warmth, its places), and of
chance where the strategy is ``weighted``. Nothing here asks anybody anything.

The default, ``balanced``, is warm-first: one that is warm comes before one that boots, which comes
before one that is cold. Balancing that spreads calls keeps no deployment warm, and causes the cold
starts that it then averages over. Within that order the least sum of expected USD and of expected
waiting, at what a second of waiting is worth, comes first; where nothing tells two apart, the order
of the configuration does.

One exception: an own deployment, whose replicas are paid for by the second, beside a warm one that
is paid by use. While it is up it is used, as far as that costs no more; while it is off or boots,
requests spill to the other, as long as what that costs more is less than the wait is worth.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from gateway.warmth.outlook import Outlook

Strategy: TypeAlias = Literal["balanced", "cheapest", "fastest", "priority", "weighted"]
IfCold: TypeAlias = Literal["wait", "spill", "fail"]
WhenCold: TypeAlias = Literal["unbilled", "when_cold", "never"]
STRATEGIES: tuple[Strategy, ...] = ("balanced", "cheapest", "fastest", "priority", "weighted")

_WARM = 0.5  # as likely as not
_PICO = 1e12


class Named(Protocol):
    """Anything that has a deployment's name and its provider's."""

    @property
    def name(self) -> str: ...

    @property
    def provider(self) -> str: ...


Target = TypeVar("Target", bound=Named)


@dataclass(frozen=True, slots=True)
class ModelRules:
    """How a model is routed.

    ``wait_value``: USD for a second of a caller's waiting; ``hedge``: when two are booted at once.
    """

    strategy: Strategy = "balanced"
    wait_value_usd_per_second: float = 0.001
    hedge: WhenCold = "unbilled"
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan(Generic[Target]):
    """``targets`` in the order in which they are tried; never empty.

    ``considered`` says why in that order; empty where there was nothing to choose. ``boots`` are
    two that are booted at once, where all are cold: the first that is up gets the request.
    """

    model: str
    targets: tuple[Target, ...]
    rules: ModelRules = ModelRules()
    considered: tuple[Considered, ...] = ()
    boots: tuple[str, ...] = ()


class UnknownModel(LookupError):
    """No model of that name is configured."""


class Routes(Generic[Target]):
    """The configured models and deployments.

    ``deployment:<name>`` asks for one deployment by itself, ``<model>:<strategy>`` for another
    strategy than the model's own.
    """

    def __init__(
        self,
        models: Mapping[str, Sequence[str]],
        deployments: Iterable[Target],
        rules: Mapping[str, ModelRules] | None = None,
    ) -> None:
        by_name = {target.name: target for target in deployments}
        known = rules or {}
        self._plans = {
            model: Plan(
                model, tuple(by_name[name] for name in names), known.get(model, ModelRules())
            )
            for model, names in models.items()
        }
        for name, target in by_name.items():
            alias = f"deployment:{name}"
            self._plans[alias] = Plan(alias, (target,))
        self._public = tuple(models)

    @property
    def models(self) -> tuple[str, ...]:
        """The public model names, as configured."""
        return self._public

    def resolve(self, model: str) -> tuple[Plan[Target], Strategy]:
        """A model's deployments as configured, and the strategy. Raises UnknownModel."""
        plan = self._plans.get(model)
        if plan is not None:
            return plan, plan.rules.strategy
        name, _, asked = model.rpartition(":")
        for strategy in STRATEGIES:
            if asked == strategy and name in self._plans:
                return self._plans[name], strategy
        raise UnknownModel(model)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says about where it goes. Names are of deployments or providers."""

    strategy: Strategy | None = None
    only: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    max_cost_pico_usd: int | None = None
    deadline_seconds: float | None = None
    allow_fallbacks: bool = True
    if_cold: IfCold = "wait"
    hedge: bool = False

    @property
    def leaves_out(self) -> bool:
        """Whether it may leave any deployment out."""
        named = bool(self.only or self.ignore)
        return named or self.max_cost_pico_usd is not None or self.if_cold == "fail"


@dataclass(slots=True)  # not frozen, as an Outlook is not
class Candidate:
    """What is expected of one deployment for one request; never changed.

    ``expected_pico_usd`` None: nobody knows its price. ``warm_seconds``: until its first output,
    usually, when it is warm. ``closed``: why nothing is sent there now; None: it is open.
    ``can_boot``: it can be booted without work, and says when it is up; ``bills_boot``: that costs
    money, or nobody knows. ``own``: its price has the seconds of a replica in it, not of work
    alone; ``replica_pico_usd`` is then what the call adds to what that replica costs by itself
    (its idle time after a boot), or, below 0, what of its cost is paid for anyway (it is up).
    """

    name: str
    provider: str
    outlook: Outlook
    expected_pico_usd: int | None = None
    warm_seconds: float | None = None
    queue_seconds: float = 0.0
    closed: str | None = None
    can_boot: bool = False
    bills_boot: bool = True
    own: bool = False
    replica_pico_usd: int = 0

    @property
    def wait_seconds(self) -> float:
        """Expected waiting, for a boot and for a place."""
        return self.outlook.wait_seconds + self.queue_seconds


@dataclass(slots=True)
class Considered:
    """A candidate and what became of it; ``excluded`` None: it stands in the order."""

    candidate: Candidate
    excluded: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Candidates in the order in which they are tried; empty: nothing fits the wish."""

    candidates: tuple[Candidate, ...]
    considered: tuple[Considered, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(candidate.name for candidate in self.candidates)


def choose(
    candidates: Sequence[Candidate],
    strategy: Strategy,
    wish: Wish,
    rules: ModelRules,
    draw: Callable[[], float] = random.random,
) -> Choice:
    """The order in which a request tries its deployments.

    Those that the wish leaves out are never tried. Those that are closed (cordoned, or failing for
    a while) come last: a request that has nowhere else to go may still find them mended.
    """
    if wish.leaves_out:
        considered = [Considered(c, _left_out(c, wish) or c.closed) for c in candidates]
        candidates = [c for c in candidates if _left_out(c, wish) is None]
    else:
        considered = [Considered(c, c.closed) for c in candidates]
    closed = [c for c in candidates if c.closed is not None]
    fitting = [c for c in candidates if c.closed is None] if closed else candidates
    ordered = _ordered(fitting, strategy, rules, draw)
    if wish.if_cold == "spill":
        ordered = sorted(ordered, key=lambda c: coldness(c.outlook))
    if wish.deadline_seconds is not None:
        # One whose wait is expected to outlast the deadline is no good while another may be.
        late = [c for c in ordered if c.wait_seconds > wish.deadline_seconds]
        ordered = [c for c in ordered if c.wait_seconds <= wish.deadline_seconds] + late
    ordered += [c for c in closed if c.closed != CORDONED]
    return Choice(tuple(ordered if wish.allow_fallbacks else ordered[:1]), tuple(considered))


CORDONED = "cordoned"
NO_BOOT = "it would have to boot, and if_cold is fail"


def left_out_by_name(named: Named, wish: Wish) -> str | None:
    """Why a wish leaves a deployment out, whatever is expected of it; None: it does not."""
    if wish.only and not {named.name, named.provider} & wish.only:
        return "not among only"
    if wish.ignore and {named.name, named.provider} & wish.ignore:
        return "ignored"
    return None


def _left_out(candidate: Candidate, wish: Wish) -> str | None:
    why = left_out_by_name(candidate, wish)
    if why is not None:
        return why
    most = wish.max_cost_pico_usd
    if most is not None:
        if candidate.expected_pico_usd is None:
            return "its price is not known, and max_cost_usd bounds it"
        if candidate.expected_pico_usd > most:
            return "expected to cost more than max_cost_usd"
    if wish.if_cold == "fail" and candidate.closed != CORDONED and coldness(candidate.outlook):
        return NO_BOOT
    return None


def _ordered(
    candidates: Sequence[Candidate],
    strategy: Strategy,
    rules: ModelRules,
    draw: Callable[[], float],
) -> list[Candidate]:
    match strategy:
        case "priority":
            return list(candidates)
        case "cheapest":
            return sorted(candidates, key=lambda c: (*_cost(c), c.wait_seconds))
        case "fastest":
            return sorted(candidates, key=lambda c: c.wait_seconds + (c.warm_seconds or 0.0))
        case "weighted":
            return _drawn(candidates, rules, draw)
        case "balanced":
            value = rules.wait_value_usd_per_second
            ranks = [_rank(c, value) for c in candidates]
            places = sorted(range(len(ranks)), key=ranks.__getitem__)
            return _break_even([candidates[place] for place in places], value)


def _break_even(ordered: list[Candidate], wait_value_usd_per_second: float) -> list[Candidate]:
    """Before a warm one that is paid by use comes an own one that costs no more, with its wait.

    Of an own one that is up the chance that it is gone does not count: it is there to be used.
    """
    if not ordered or ordered[0].own or coldness(ordered[0].outlook):
        return ordered
    _, unknown, most_usd = _rank(ordered[0], wait_value_usd_per_second)
    best: Candidate | None = None
    for candidate in ordered:
        known = candidate.expected_pico_usd
        if not candidate.own or known is None or unknown:
            continue
        up = candidate.outlook.state == "warm"
        wait_seconds = candidate.queue_seconds if up else candidate.wait_seconds
        usd = (known + candidate.replica_pico_usd) / _PICO
        usd += wait_seconds * wait_value_usd_per_second
        if usd <= most_usd:
            best, most_usd = candidate, usd
    if best is None:
        return ordered
    return [best, *(candidate for candidate in ordered if candidate is not best)]


def coldness(outlook: Outlook) -> int:
    """0 warm, 1 booting, 2 cold; what nobody knows anything about passes for warm."""
    if outlook.state == "booting":
        return 1
    if outlook.state == "warm" or outlook.p_warm >= _WARM:
        return 0
    return 2


def _cost(candidate: Candidate) -> tuple[bool, int]:
    known = candidate.expected_pico_usd
    return known is None, known or 0


def _rank(candidate: Candidate, wait_value_usd_per_second: float) -> tuple[int, bool, float]:
    """Coldness; whether its price is unknown, which comes last; USD and waiting in one figure, for
    comparing only.
    """
    known, outlook = candidate.expected_pico_usd, candidate.outlook
    state, p_warm = outlook.state, outlook.p_warm
    wait_seconds = outlook.booting_left_seconds
    if wait_seconds is None:
        wait_seconds = (1.0 - p_warm) * outlook.boot_seconds
    waiting_usd = (wait_seconds + candidate.queue_seconds) * wait_value_usd_per_second
    usd = ((known or 0) + candidate.replica_pico_usd) / _PICO + waiting_usd
    cold = 1 if state == "booting" else 0 if state == "warm" or p_warm >= _WARM else 2
    return cold, known is None, usd


def _drawn(
    candidates: Sequence[Candidate], rules: ModelRules, draw: Callable[[], float]
) -> list[Candidate]:
    """One by weight; the others follow as fallbacks, in the order of the configuration."""
    weights = [max(0.0, rules.weights.get(c.name, 1.0)) for c in candidates]
    left = draw() * sum(weights)
    for candidate, weight in zip(candidates, weights, strict=True):
        left -= weight
        if left < 0:
            return [candidate, *(c for c in candidates if c is not candidate)]
    return list(candidates)
