"""PromQL over the metrics that are defined, and over no others.

Names and labels are looked up, so that a dashboard or a rule over what does not exist cannot be
made. Raises ValueError for those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.telemetry.definitions import BY_NAME, Definition

Labels = Mapping[str, str]


def series(name: str, where: Labels | None = None) -> str:
    """A series' selector. ``where``: label -> regular expression, or ``=value`` for the value."""
    definition = _of(name)
    parts = []
    for label, wanted in (where or {}).items():
        if label not in definition.labels and label != "le":
            raise ValueError(f"{name} has no label {label}")
        sign, text = ("=", wanted[1:]) if wanted.startswith("=") else ("=~", wanted)
        parts.append(f'{label}{sign}"{text}"')
    return f"{name}{{{', '.join(parts)}}}" if parts else name


def total(name: str, by: Sequence[str] = (), where: Labels | None = None) -> str:
    """What is there now, summed over instances and over labels that are not in ``by``."""
    return f"{_sum(name, by)}({series(name, where)})"


def average(name: str, by: Sequence[str], where: Labels | None = None) -> str:
    """What is there now, where instances each have an opinion of the same thing."""
    return f"{_sum(name, by).replace('sum', 'avg', 1)}({series(name, where)})"


def rate(name: str, window: str, by: Sequence[str] = (), where: Labels | None = None) -> str:
    """What a counter grows by in a second."""
    return f"{_sum(name, by)}(rate({series(name, where)}[{window}]))"


def increase(name: str, window: str, by: Sequence[str] = (), where: Labels | None = None) -> str:
    """What a counter has grown by in a window."""
    return f"{_sum(name, by)}(increase({series(name, where)}[{window}]))"


def quantile(
    share: float, name: str, window: str, by: Sequence[str] = (), where: Labels | None = None
) -> str:
    """A quantile of a histogram."""
    buckets = rate(f"{name}_bucket", window, ("le", *by), where)
    return f"histogram_quantile({share:g}, {buckets})"


def _sum(name: str, by: Sequence[str]) -> str:
    definition = _of(name)
    for label in by:
        if label not in definition.labels and label != "le":
            raise ValueError(f"{name} has no label {label}")
    return f"sum by ({', '.join(by)}) " if by else "sum"


def _of(name: str) -> Definition:
    for definition in (BY_NAME.get(name), BY_NAME.get(name.rpartition("_")[0])):
        if definition is not None and name in definition.samples:
            return definition
    raise ValueError(f"there is no series {name}")
