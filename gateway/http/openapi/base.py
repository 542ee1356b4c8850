"""What the shapes of answers are made of."""

from __future__ import annotations

from typing import Annotated, Generic, TypeAlias, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Usd: TypeAlias = Annotated[str, Field(pattern=r"^-?\d+(\.\d{1,12})?$")]
"""Dollars as text, exact to 12 places."""
Decimals: TypeAlias = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$")]
"""A decimal number as text, exact."""
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Seconds: TypeAlias = Annotated[float, Field(ge=0)]
Instant: TypeAlias = AwareDatetime


class Shown(BaseModel):
    """A part of an answer. A field with a default may be absent."""

    model_config = ConfigDict(use_attribute_docstrings=True)


Row = TypeVar("Row")


class Page(Shown, Generic[Row]):
    """Rows, and the cursor that leads on."""

    data: list[Row]
    """The rows of this page."""
    next_cursor: str | None
    """For the next page, as ``cursor``; null: this was the last."""
    as_of: Instant | None = None
    """Only where the database is behind the journal: what came later is not in it."""


class Interval(Shown):
    """A 95 % interval (Wilson) of a rate."""

    low: Share
    """Its lower end, a share from 0 to 1."""
    high: Share
    """Its upper end, a share from 0 to 1."""


class UsdRange(Shown):
    """Between which dollars a cost lies."""

    low: Usd
    """At least, in US dollars as decimal text."""
    high: Usd | None
    """At most, in US dollars as decimal text; null: nothing bounds it."""
