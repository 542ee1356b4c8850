"""Several waited for one boot, and nobody says who caused it: it is paid for once. Sans-I/O.

One boot is what has one instance id, or what happened at one shared machine, where the times of the
waiting overlap: a machine boots once. Whoever is booked first carries what it saw of the boot, who
saw more of it carries the rest, so that together they carry the longest wait. Without such evidence
two boots are two.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_MOST_BOOTS = 256


@dataclass(slots=True)
class _Boot:
    began_at: float
    ended_at: float
    seconds: float


class BootShares:
    """The boots of one deployment. ``shared``: one machine runs all of its attempts."""

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._boots: OrderedDict[str, _Boot] = OrderedDict()

    def take(self, instance_id: str | None, seconds: float, ended_at: float) -> float:
        """An attempt is booked that waited ``seconds`` until ``ended_at`` (monotonic) for a boot.

        Returns the seconds of it that no other attempt carries.
        """
        if instance_id is None and not self._shared:
            return seconds
        name, began_at = instance_id or "", ended_at - seconds
        boot = self._boots.pop(name, None)
        if boot is None or began_at > boot.ended_at or boot.began_at > ended_at:
            self._boots[name] = _Boot(began_at, ended_at, seconds)
            if len(self._boots) > _MOST_BOOTS:
                self._boots.popitem(last=False)
            return seconds
        rest = max(0.0, seconds - boot.seconds)
        self._boots[name] = _Boot(
            min(began_at, boot.began_at), max(ended_at, boot.ended_at), boot.seconds + rest
        )
        return rest
