"""What ``compare`` can be asked, in one table for the command line and for HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any

from gateway.estimates.hardware import Hardware, hardware_of
from gateway.estimates.tables import Shape, find, shapes
from gateway.ledger.errors import BadQuery


@dataclass(frozen=True, slots=True)
class OwnGpu:
    """A card of one's own, in dollars and watts."""

    hardware: Hardware
    capex_usd: Decimal
    life_years: Decimal
    watts: Decimal
    usd_per_kwh: Decimal
    pue: Decimal
    ops_usd_month: Decimal


@dataclass(frozen=True, slots=True)
class Ask:
    """A question, checked. None: not said."""

    model: str
    max_wait_p95_seconds: float | None = None
    prices: tuple[str, ...] = ()
    """Further price rows to hold beside."""
    shape: Shape | None = None
    """What the model is, for scaling durations."""
    keep_alive_seconds: float | None = None
    """Instead of what providers say."""
    boot_seconds: float | None = None
    """Instead of what was measured."""
    places: int | None = None
    """Requests that one replica runs at once."""
    measured_on: Hardware | None = None
    """What the durations of a trace were measured on."""
    requests_per_day: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    own_gpu: OwnGpu | None = None


def _number(least: float, most: float = 1e12) -> Callable[[str, str], float]:
    def parse(name: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise BadQuery(name, f"{name} is a number from {least:g} to {most:g}.")
        return value

    return parse


def _whole(least: int, most: int = 10**9) -> Callable[[str, str], int]:
    number = _number(least, most)

    def parse(name: str, text: str) -> int:
        value = number(name, text)
        if value != int(value):
            raise BadQuery(name, f"{name} is a whole number.")
        return int(value)

    return parse


def _usd(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not (value.is_finite() and 0 <= value <= 10**12):
        raise BadQuery(name, f"{name} is a decimal number, 0 or more.")
    return value


def _above_0(name: str, text: str) -> Decimal:
    value = _usd(name, text)
    if not value:
        raise BadQuery(name, f"{name} is more than 0.")
    return value


def _hardware(name: str, text: str) -> Hardware:
    found = hardware_of(text)
    if found is None:
        raise BadQuery(name, f"{name}: no card of this name is known.")
    return found


def _shape(name: str, text: str) -> Shape:
    found = find(shapes(), text)
    if found is None:
        known = ", ".join(shape.name for shape in shapes())
        raise BadQuery(name, f"{name} is one of {known}.")
    return found


_OWN = "own_gpu"
_OWN_FIGURES: dict[str, tuple[Callable[[str, str], Decimal], str | None]] = {
    "capex_usd": (_usd, None),
    "life_years": (_above_0, "4"),
    "watts": (_usd, "1000"),
    "usd_per_kwh": (_usd, "0.10"),
    "pue": (_above_0, "1.3"),
    "ops_usd_month": (_usd, "0"),
}
_PARSE: dict[str, Callable[[str, str], Any]] = {
    "max_wait_p95_seconds": _number(0),
    "shape": _shape,
    "keep_alive_seconds": _number(0, 31_536_000),
    "boot_seconds": _number(0, 86_400),
    "places": _whole(1, 100_000),
    "measured_on": _hardware,
    "requests_per_day": _number(1e-3, 1e9),
    "input_tokens": _whole(0),
    "output_tokens": _whole(1),
}
PARAMETERS = ("model", "price", _OWN, *_OWN_FIGURES, *_PARSE)
"""All that a question may name, besides the range and the filters of a report."""


def ask_of(given: Mapping[str, str], prices: tuple[str, ...] = ()) -> Ask:
    """A question from texts; ``model`` must be there. Raises BadQuery naming the parameter."""
    parsed = {name: parse(name, given[name]) for name, parse in _PARSE.items() if name in given}
    own = None
    if _OWN in given:
        figures = {}
        for name, (parse, default) in _OWN_FIGURES.items():
            text = given.get(name, default)
            if text is None:
                raise BadQuery(name, f"{_OWN} needs {name}.")
            figures[name] = parse(name, text)
        own = OwnGpu(_hardware(_OWN, given[_OWN]), **figures)
    else:
        for name in _OWN_FIGURES:
            if name in given:
                raise BadQuery(name, f"{name} belongs to {_OWN}, which is not named.")
    if "requests_per_day" in given:
        for name in ("input_tokens", "output_tokens"):
            if name not in given:
                raise BadQuery(name, f"requests_per_day needs {name}.")
    assert parsed.keys() <= {field.name for field in fields(Ask)}
    return Ask(model=given["model"], prices=prices, own_gpu=own, **parsed)
