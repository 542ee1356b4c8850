"""What ``compare`` can be asked, in one table for the command line and for HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from gateway.estimates.hardware import Hardware, hardware_of
from gateway.estimates.tables import Shape, find, gpus, shapes
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


class Figure(Protocol):
    """What a parameter may be: reads it, and says it as a JSON schema."""

    def __call__(self, name: str, text: str) -> Any:
        """The value. Raises BadQuery naming the parameter."""

    @property
    def schema(self) -> dict[str, Any]:
        """For the API's document."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number between two bounds."""

    least: float
    most: float = 1e12

    def __call__(self, name: str, text: str) -> float:
        """As a float."""
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not self.least <= value <= self.most:
            raise BadQuery(name, f"{name} is a number from {self.least:g} to {self.most:g}.")
        return value

    @property
    def schema(self) -> dict[str, Any]:
        """Its bounds."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two bounds."""

    least: int
    most: int = 10**9

    def __call__(self, name: str, text: str) -> int:
        """As an int."""
        value = Number(self.least, self.most)(name, text)
        if value != int(value):
            raise BadQuery(name, f"{name} is a whole number.")
        return int(value)

    @property
    def schema(self) -> dict[str, Any]:
        """Its bounds."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Amount:
    """A decimal number, exact; ``above_0``: 0 makes no sense."""

    above_0: bool = False
    most: int = 10**12

    def __call__(self, name: str, text: str) -> Decimal:
        """As a Decimal."""
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal(-1)
        if not (value.is_finite() and 0 <= value <= self.most):
            raise BadQuery(name, f"{name} is a decimal number, 0 or more.")
        if self.above_0 and not value:
            raise BadQuery(name, f"{name} is more than 0.")
        return value

    @property
    def schema(self) -> dict[str, Any]:
        """Its bounds."""
        least = {"exclusiveMinimum": 0} if self.above_0 else {"minimum": 0}
        return {"type": "number", **least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card by one of its names."""

    def __call__(self, name: str, text: str) -> Hardware:
        """As hardware."""
        found = hardware_of(text)
        if found is None:
            raise BadQuery(name, f"{name}: no card of this name is known.")
        return found

    @property
    def schema(self) -> dict[str, Any]:
        """Cards have many names, and a price row's name is one too."""
        return {"type": "string", "examples": [gpu.name for gpu in gpus()]}


@dataclass(frozen=True, slots=True)
class ShapeName:
    """A model whose shape is known."""

    def __call__(self, name: str, text: str) -> Shape:
        """As a shape."""
        found = find(shapes(), text)
        if found is None:
            known = ", ".join(shape.name for shape in shapes())
            raise BadQuery(name, f"{name} is one of {known}.")
        return found

    @property
    def schema(self) -> dict[str, Any]:
        """Models have several names."""
        return {"type": "string", "examples": [shape.name for shape in shapes()]}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that a question may say."""

    figure: Figure
    meaning: str
    default: str | None = None


_OWN = "own_gpu"
OWN_GPU: Mapping[str, Parameter] = {
    "capex_usd": Parameter(Amount(), "Its price in USD, host included; own_gpu needs it."),
    "life_years": Parameter(Amount(above_0=True), "Years that it is used.", "4"),
    "watts": Parameter(Amount(), "Its power in watts, host included.", "1000"),
    "usd_per_kwh": Parameter(Amount(), "Power's price in USD.", "0.10"),
    "pue": Parameter(Amount(above_0=True), "Power of the room for each watt of it.", "1.3"),
    "ops_usd_month": Parameter(Amount(), "People, rack and network, in USD a month.", "0"),
}
"""What belongs to ``own_gpu``."""
FIGURES: Mapping[str, Parameter] = {
    "max_wait_p95_seconds": Parameter(
        Number(0), "The cheapest must not let 1 in 20 wait longer, in seconds."
    ),
    "shape": Parameter(ShapeName(), "What the model is, for scaling durations to other cards."),
    "keep_alive_seconds": Parameter(
        Number(0, 31_536_000), "Seconds that replicas are kept, instead of what providers say."
    ),
    "boot_seconds": Parameter(
        Number(0, 86_400), "Seconds that boots take, instead of what was measured."
    ),
    "places": Parameter(
        Whole(1, 100_000), "Requests that one replica runs at once; unset: any number."
    ),
    "measured_on": Parameter(Card(), "The card that a trace's durations were measured on."),
    "requests_per_day": Parameter(
        Number(1e-3, 1e9), "Made-up traffic instead of the ledger's; needs both token counts."
    ),
    "input_tokens": Parameter(Whole(0), "Input tokens of each request."),
    "output_tokens": Parameter(Whole(1), "Output tokens of each request."),
}
"""Figures that stand alone."""
CARD = Parameter(Card(), "A card of one's own to hold beside; needs capex_usd.")
PARAMETERS = ("model", "price", _OWN, *OWN_GPU, *FIGURES)
"""All that a question may name, besides the range and the filters of a report."""


def ask_of(given: Mapping[str, str], prices: tuple[str, ...] = ()) -> Ask:
    """A question from texts; ``model`` must be there. Raises BadQuery naming the parameter."""
    parsed = {
        name: known.figure(name, given[name]) for name, known in FIGURES.items() if name in given
    }
    own = None
    if _OWN in given:
        figures = {}
        for name, known in OWN_GPU.items():
            text = given.get(name, known.default)
            if text is None:
                raise BadQuery(name, f"{_OWN} needs {name}.")
            figures[name] = known.figure(name, text)
        own = OwnGpu(CARD.figure(_OWN, given[_OWN]), **figures)
    else:
        for name in OWN_GPU:
            if name in given:
                raise BadQuery(name, f"{name} belongs to {_OWN}, which is not named.")
    if "requests_per_day" in given:
        for name in ("input_tokens", "output_tokens"):
            if name not in given:
                raise BadQuery(name, f"requests_per_day needs {name}.")
    assert parsed.keys() <= {field.name for field in fields(Ask)}
    return Ask(model=given["model"], prices=prices, own_gpu=own, **parsed)
