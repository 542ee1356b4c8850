"""From the name an app asks for to the deployments to try, in order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Named(Protocol):
    """Anything that has a deployment's name."""

    @property
    def name(self) -> str: ...


Target = TypeVar("Target", bound=Named)


@dataclass(frozen=True, slots=True)
class Plan(Generic[Target]):
    """``targets`` in the order in which they are tried; never empty."""

    model: str
    targets: tuple[Target, ...]


class UnknownModel(LookupError):
    """No model of that name is configured."""


class Routes(Generic[Target]):
    """The configured models and deployments.

    A model's deployments are tried in the order of the configuration. ``deployment:<name>`` asks
    for one deployment by itself.
    """

    def __init__(self, models: Mapping[str, Sequence[str]], deployments: Iterable[Target]) -> None:
        by_name = {target.name: target for target in deployments}
        self._plans = {
            model: Plan(model, tuple(by_name[name] for name in names))
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

    def resolve(self, model: str) -> Plan[Target]:
        """The plan for a request. Raises UnknownModel."""
        plan = self._plans.get(model)
        if plan is None:
            raise UnknownModel(model)
        return plan
