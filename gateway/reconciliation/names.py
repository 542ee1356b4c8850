"""Under which names a provider's bill may know what the ledger's rows ran on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from gateway.settings import ConfigError, Settings


class Named(Protocol):
    """A row of the ledger: where it ran."""

    @property
    def deployment(self) -> str: ...

    @property
    def provider_model(self) -> str: ...


NamesOf: TypeAlias = Callable[[Named], Sequence[str]]
"""The names of a row, the likeliest first."""


def names_in(settings: Settings, named: Sequence[str]) -> NamesOf:
    """By what was said (``the bill's name=deployment``) and by the configuration's apps, endpoints
    and models. Raises ConfigError.
    """
    said: dict[str, list[str]] = {}
    for theirs, deployment in (*_said(named), *_configured(settings)):
        said.setdefault(deployment, []).append(theirs)

    def names_of(row: Named) -> Sequence[str]:
        model = row.provider_model
        return [*said.get(row.deployment, ()), model, model.partition(":")[0], row.deployment]

    return names_of


def deployments_called(settings: Settings, named: Sequence[str], name: str) -> set[str]:
    """Deployments that a bill knows by a name. Raises ConfigError."""
    return {of for theirs, of in (*_said(named), *_configured(settings)) if theirs == name}


def _said(named: Sequence[str]) -> Iterator[tuple[str, str]]:
    for pair in named:
        theirs, equals, deployment = pair.rpartition("=")
        if not equals:
            raise ConfigError(f"--name {pair}: it is the bill's name=deployment")
        yield theirs, deployment


def _configured(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, given in settings.deployments.items():
        for option in ("app", "endpoint"):  # Modal bills by the one, RunPod by the other
            if isinstance(known := given.options.get(option), str):
                yield known, name
