"""Which card a configuration or a price row means, from its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from gateway.estimates.tables import Gpu, gpus

_COUNT = re.compile(r"(?:^|(?<=-))(\d{1,2})x-|-(\d{1,2})x$|-x(\d{1,2})$")


@dataclass(frozen=True, slots=True)
class Hardware:
    """So many of one card."""

    gpu: Gpu
    count: int

    def __str__(self) -> str:
        return self.gpu.name if self.count == 1 else f"{self.count} x {self.gpu.name}"


@cache
def hardware_of(name: str | None) -> Hardware | None:
    """``replicate-gpu-2x-l40s`` is two L40S; None where the name says no card that is known."""
    if name is None:
        return None
    text = re.sub(r"[\s_:]+", "-", name.strip().lower()).removesuffix("!")
    found = _COUNT.search(text)
    count = 1
    if found is not None:
        count = int(next(group for group in found.groups() if group is not None))
        text = f"{text[: found.start()]}{text[found.end() :]}"
    words = {word: gpu for gpu in gpus() for word in (gpu.name, *gpu.names)}
    for word in sorted(words, key=len, reverse=True):
        if (text == word or text.endswith(f"-{word}")) and count > 0:
            return Hardware(words[word], count)
    return None
