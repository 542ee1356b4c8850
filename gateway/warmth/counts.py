"""How often a deployment was found up, and how often not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Outcomes that were seen. ``boots``: caused by an attempt of ours.

    ``scale_outs``: cold ones while others ran on a machine that was up; ``new_revisions``: cold
    ones at a change of the model's revision. Neither says anything about keep-alive.
    """

    warm: int = 0
    cold: int = 0
    unknown: int = 0
    boots: int = 0
    scale_outs: int = 0
    new_revisions: int = 0

    def absorb(self, older: Counts) -> None:
        """Take in another's."""
        for name in Counts.__slots__:
            setattr(self, name, getattr(self, name) + getattr(older, name))
