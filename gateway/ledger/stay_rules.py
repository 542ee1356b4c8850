"""The rules of keep-warm charges: what became of the stay that each is a slice of."""

from __future__ import annotations

from typing import Final

USED: Final = "kept until a request came"
UNUSED: Final = "kept, and nobody came"
REST: Final = "the rest of a boot ahead, which a request waited for"
GOES_ON: Final = "kept, and the stay goes on"
"""It is followed by another slice, which begins where this one ends."""
