"""The rules of keep-warm charges: what became of the stay that each is a slice of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

USED: Final = "kept until a request came"
UNUSED: Final = "kept, and nobody came"
REST: Final = "the rest of a boot ahead, which a request waited for"
GOES_ON: Final = "kept, and the stay goes on"
"""It is followed by another slice, which begins where this one ends."""
OUTCOMES: Final[Mapping[str, str]] = {
    USED: "used",
    UNUSED: "unused",
    REST: "rest",
    GOES_ON: "open",
}
"""In a word, what a stay came to; open: that is not known yet, or its gateway died."""
