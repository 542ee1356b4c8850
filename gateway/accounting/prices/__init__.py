"""The price book: dated rows with sources, appended and never edited.

Each ``*.yml`` beside this file holds a list of rows; the configuration adds its own. A row is
found by name and instant: the latest one in force. Which row was used is kept with each attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from importlib import resources
from typing import Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Billed: TypeAlias = Literal["execute", "boot", "queue", "idle", "standing"]
_MILLION = Decimal(1_000_000)


class PriceRow(BaseModel):
    """What one thing costs, from a day on, according to a source."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """What deployments call the price by."""
    effective_from: date
    """First day (UTC) on which the row holds."""
    source: str
    """Where the figure stands: an address, or who set it."""
    checked_on: date
    """Day on which the source was last read."""
    note: str = ""
    """What a reader must know about the figure."""
    usd_per_million_input_tokens: Decimal | None = Field(default=None, ge=0)
    """USD for a million tokens that go in."""
    usd_per_million_output_tokens: Decimal | None = Field(default=None, ge=0)
    """USD for a million tokens that come out."""
    usd_per_million_cached_input_tokens: Decimal | None = Field(default=None, ge=0)
    """None: cached tokens cost what other input tokens cost."""
    usd_per_second: Decimal | None = Field(default=None, ge=0)
    """USD for a second of the kinds that are billed."""
    usd_per_image: Decimal | None = Field(default=None, ge=0)
    """USD for an image that comes out."""
    usd_per_request: Decimal | None = Field(default=None, ge=0)
    """USD for each attempt."""
    bills: frozenset[Billed] = frozenset({"execute"})
    """Which seconds ``usd_per_second`` is charged for; standing: all of them, used or not."""
    round_up_seconds: Decimal | None = Field(default=None, gt=0)
    """Each billed duration is rounded up to a multiple of this."""
    shared: bool = False
    """One machine runs several requests: each second is split over those running in it."""

    revision: str | None = None
    """Set on prices that stand in the configuration; takes the day's place in the id."""

    @model_validator(mode="after")
    def _has_a_rate(self) -> PriceRow:
        rates = (
            self.usd_per_million_input_tokens,
            self.usd_per_million_output_tokens,
            self.usd_per_second,
            self.usd_per_image,
            self.usd_per_request,
        )
        if all(rate is None for rate in rates):
            raise ValueError("a price needs at least one rate")
        if "standing" in self.bills and self.bills != {"standing"}:
            raise ValueError("standing seconds are all seconds: nothing can be billed beside them")
        return self

    @cached_property
    def id(self) -> str:
        """Name and date: what a cost line quotes."""
        return f"{self.name}@{self.revision or self.effective_from}"

    @cached_property
    def usd_per_input_token(self) -> Decimal | None:
        """The input rate for one token."""
        rate = self.usd_per_million_input_tokens
        return None if rate is None else rate / _MILLION

    @cached_property
    def usd_per_output_token(self) -> Decimal | None:
        """The output rate for one token."""
        rate = self.usd_per_million_output_tokens
        return None if rate is None else rate / _MILLION

    @cached_property
    def usd_per_cached_input_token(self) -> Decimal | None:
        """The rate for one input token found in the provider's cache."""
        rate = self.usd_per_million_cached_input_tokens
        return None if rate is None else rate / _MILLION

    @cached_property
    def record(self) -> dict[str, object]:
        """The row as the ledger keeps it: set fields only, money as strings."""
        return self.model_dump(mode="json", exclude_defaults=True)


class Tariff:
    """All rows of one name: the price of something over time."""

    __slots__ = ("_rows", "name")

    def __init__(self, name: str, rows: Iterable[PriceRow]) -> None:
        self.name = name
        dated = [(_begin_us(row.effective_from), row) for row in rows]
        self._rows = sorted(dated, key=lambda pair: pair[0], reverse=True)

    def at(self, at_us: int) -> PriceRow | None:
        """The row in force at an instant (microseconds since the epoch), if there is one."""
        for begin_us, row in self._rows:
            if begin_us <= at_us:
                return row
        return None

    @property
    def rows(self) -> list[PriceRow]:
        """Newest first."""
        return [row for _, row in self._rows]


class PriceBook:
    """Tariffs by name. Raises ValueError on two rows of one name and day."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        by_name: dict[str, list[PriceRow]] = {}
        seen: set[str] = set()
        for row in rows:
            if row.id in seen:
                raise ValueError(f"price {row.id} is given twice; rows are appended, not edited")
            seen.add(row.id)
            by_name.setdefault(row.name, []).append(row)
        self._tariffs = {name: Tariff(name, found) for name, found in by_name.items()}

    def find(self, name: str) -> Tariff | None:
        """The tariff of that name."""
        return self._tariffs.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._tariffs)


def built_in_rows() -> list[PriceRow]:
    """The rows that ship with the gateway."""
    rows: list[PriceRow] = []
    for entry in sorted(resources.files(__name__).iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yml"):
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            found = yaml.load(entry.read_bytes(), Loader=loader)  # noqa: S506 (a safe loader)
            rows.extend(PriceRow.model_validate(item) for item in found)
    return rows


def _begin_us(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
