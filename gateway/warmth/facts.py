"""What providers say about keeping replicas and booting them: data with sources."""

from __future__ import annotations

from datetime import date
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """One provider's habits."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """The plugin's name, or the begin of the names of its price rows."""
    keep_alive_seconds: float | None
    """How long a replica stays without work; None: no figure is given."""
    boot_seconds: tuple[float, float] | None
    """The shortest and the longest boot that is known of; None: none is."""
    shared_pool: bool = False
    """Others' requests keep the machines warm as well."""
    source: str
    """Where it stands."""
    checked_on: date
    """When that was read."""


@cache
def facts() -> tuple[Fact, ...]:
    """All of them, longest name first."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (resources.files(__package__) / "facts.yml").read_bytes()
    found = (Fact.model_validate(item) for item in yaml.load(text, Loader=loader))  # noqa: S506
    return tuple(sorted(found, key=lambda fact: -len(fact.name)))


def fact_of(name: str) -> Fact | None:
    """What is known of a plugin, or of the provider of a price row, by its name."""
    return next((f for f in facts() if name == f.name or name.startswith(f"{f.name}-")), None)
