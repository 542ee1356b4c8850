"""The price book: dated rows with sources, appended and never edited.

Each ``*.yml`` beside this file holds a list of rows; the configuration adds its own, and so does
what was fetched from live sources. A row is found by name and instant: the latest one in force.
Which row was used is kept with each attempt.
"""

from __future__ import annotations

from importlib import resources

import yaml

from gateway.accounting.prices.book import Origin, PriceBook, Tariff
from gateway.accounting.prices.row import Billed, PriceRow, TokenRates, TokenTier

__all__ = [
    "Billed",
    "Origin",
    "PriceBook",
    "PriceRow",
    "Tariff",
    "TokenRates",
    "TokenTier",
    "built_in_rows",
    "rows_from_yaml",
]


def built_in_rows() -> list[PriceRow]:
    """The rows that ship with the gateway."""
    rows: list[PriceRow] = []
    for entry in sorted(resources.files(__name__).iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yml"):
            rows.extend(rows_from_yaml(entry.read_bytes()))
    return rows


def rows_from_yaml(raw: bytes) -> list[PriceRow]:
    """A list of rows. Raises ValueError, yaml.YAMLError too, on what is none."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load(raw, Loader=loader) or []  # noqa: S506 (a safe loader)
    if not isinstance(found, list):
        raise ValueError("not a list of price rows")
    return [PriceRow.model_validate(item) for item in found]
