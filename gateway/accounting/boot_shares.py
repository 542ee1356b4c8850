"""Several waited for one boot, and nobody says who caused it: it is paid for once. Sans-I/O.

One boot is what has one instance id, or what happened at one shared machine, where the times of the
waiting overlap: a machine boots once. Whoever is booked first carries what it saw of the boot, who
saw more of it carries the rest, so that together they carry the longest wait. Without such evidence
two boots are two.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Carried: TypeAlias = Callable[[str | None, float, float], float]
"""Of an instance, the seconds of waiting for a boot, and when (monotonic) they were over: the
seconds that the attempt carries. ``BootShares.take`` or ``BootShares.rest``."""

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
        carried = self.rest(instance_id, seconds, ended_at)
        if instance_id is None and not self._shared:
            return carried
        began_at = ended_at - seconds
        boot = self._same(instance_id, began_at, ended_at)
        self._boots.pop(instance_id or "", None)
        self._boots[instance_id or ""] = (
            _Boot(began_at, ended_at, seconds)
            if boot is None
            else _Boot(
                min(began_at, boot.began_at),
                max(ended_at, boot.ended_at),
                boot.seconds + carried,
            )
        )
        if len(self._boots) > _MOST_BOOTS:
            self._boots.popitem(last=False)
        return carried

    def rest(self, instance_id: str | None, seconds: float, ended_at: float) -> float:
        """What ``take`` would return; nothing is booked."""
        boot = self._same(instance_id, ended_at - seconds, ended_at)
        return seconds if boot is None else max(0.0, seconds - boot.seconds)

    def _same(self, instance_id: str | None, began_at: float, ended_at: float) -> _Boot | None:
        """The boot that was carried before, if this is the same one."""
        if instance_id is None and not self._shared:
            return None
        boot = self._boots.get(instance_id or "")
        if boot is None or began_at > boot.ended_at or boot.began_at > ended_at:
            return None
        return boot
