"""The two tables behind estimates: graphics cards and models, each row with its source."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cache
from importlib import resources
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """What commands call it."""
    names: tuple[str, ...] = ()
    """Further words for the same thing."""
    source: str
    """Where the figures stand."""
    checked_on: date
    """Day on which the source was last read."""


class Gpu(_Row):
    """One graphics card at its best."""

    memory_gb: float = Field(gt=0)
    """Memory, in 10^9 bytes."""
    bandwidth_gb_per_second: float = Field(gt=0)
    """Reads from that memory, in 10^9 bytes a second."""
    dense_fp16_tflops: float = Field(gt=0)
    """Half-precision matrix arithmetic, 10^12 operations a second, without sparsity."""


class Shape(_Row):
    """What of a model decides how fast it can be."""

    parameters: int = Field(gt=0)
    """All of them; each is read once for each token."""
    layers: int | None = Field(default=None, gt=0)
    """None: the KV cache is not known."""
    kv_heads: int | None = Field(default=None, gt=0)
    """Heads for keys and values."""
    head_dim: int | None = Field(default=None, gt=0)
    """Numbers in each of them."""
    weight_bytes: float = Field(default=2, gt=0)
    """Bytes of one parameter: 2 for fp16, 1 for fp8, about 0.5 for 4 bits."""
    kv_bytes: float = Field(default=2, gt=0)
    """Bytes of one number in the KV cache."""

    @property
    def kv_bytes_per_token(self) -> float | None:
        """What one token of one sequence keeps in memory; None: not known."""
        if self.layers is None or self.kv_heads is None or self.head_dim is None:
            return None
        return 2 * self.layers * self.kv_heads * self.head_dim * self.kv_bytes


Row = TypeVar("Row", Gpu, Shape)


@cache
def gpus() -> tuple[Gpu, ...]:
    """All known cards."""
    return _read("gpus.yml", Gpu)


@cache
def shapes() -> tuple[Shape, ...]:
    """All known models."""
    return _read("shapes.yml", Shape)


def find(rows: Iterable[Row], name: str) -> Row | None:
    """The row of that name, in whichever case."""
    wanted = name.strip().lower()
    return next((row for row in rows if wanted == row.name or wanted in row.names), None)


def _read(name: str, model: type[Row]) -> tuple[Row, ...]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (resources.files(__package__) / name).read_bytes()
    return tuple(model.model_validate(item) for item in yaml.load(text, Loader=loader))  # noqa: S506
