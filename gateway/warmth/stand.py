"""Where one deployment stands: what was seen of it, what was learned, and on what that rests.

``Warmth`` takes in the facts and makes expectations of them.

Units:  seconds of one monotonic clock, the caller's (``at``); it may begin anywhere.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from gateway.warmth.boots import Boots
from gateway.warmth.calibration import Calibration
from gateway.warmth.counts import Counts
from gateway.warmth.holding import Holding
from gateway.warmth.hours import Hours
from gateway.warmth.outlook import Outlook
from gateway.warmth.priors import Prior
from gateway.warmth.survival import Survival

Probe: TypeAlias = Literal["down", "booting", "ready", "unknown"]

SeenBy: TypeAlias = Literal["attempt", "probe", "process"]
SeenState: TypeAlias = Literal["off", "booting", "warm"]
Seen: TypeAlias = tuple[SeenState, SeenBy, float]
"""A state, what showed it, and when: an attempt's work or boot, its provider's answer to a
question, or the process that the gateway runs itself."""

STATE_OF: Final[dict[Probe, SeenState]] = {"down": "off", "booting": "booting", "ready": "warm"}
BESIDE_PRIOR = (9.0, 1.0)  # of ten that come while others run, one needs another machine
_SURE = 0.95


class Pending:
    """An attempt that runs: what was predicted of it, from what."""

    __slots__ = ("beside", "hour", "idle_seconds", "kept", "p_curve", "p_warm", "ready_gap")

    def __init__(self, p_warm: float, p_curve: float, hour: int) -> None:
        self.p_warm = p_warm
        self.p_curve = p_curve
        self.hour = hour
        self.idle_seconds: float | None = None
        self.ready_gap: float | None = None
        self.beside = False
        self.kept = False


class Stand:
    """What is known and learned of one deployment, and what runs there."""

    __slots__ = (
        "_beside_cold",
        "_beside_warm",
        "_boot_seconds",
        "_booting_since",
        "_doubted",
        "_down",
        "_gap_held",
        "_idle_since",
        "_instance_id",
        "_lasting",
        "_pending",
        "_ready",
        "_ready_gap",
        "_revision",
        "_seen",
        "_since",
        "_supervised",
        "_told",
        "_used_at",
        "boots",
        "counts",
        "holding",
        "hours",
        "prior",
        "quality",
        "survival",
        "wall_offset_seconds",
    )

    def __init__(self, prior: Prior, wall_offset_seconds: float = 0.0) -> None:
        self.prior = prior
        self.wall_offset_seconds = wall_offset_seconds
        self.survival = Survival(prior)
        self.hours = Hours()
        self.boots = Boots(prior)
        self.quality = Calibration()
        self.counts = Counts()
        self.holding = Holding()
        self._pending: dict[str, Pending] = {}
        self._idle_since: float | None = None
        self._ready = False  # whether work is known to have begun in the present stretch of use
        self._ready_gap: float | None = None  # a probe found it up after so long without work
        self._gap_held = False  # whether a policy has held it since it was used last
        self._down = False  # a probe found it down since it was used last
        self._supervised: Probe | None = None  # where its process stands; None: nobody tells
        self._used_at: float | None = None
        self._seen: Seen | None = None
        self._doubted = False  # something has happened since that may have changed it
        self._told = False  # whether it was ever asked, or seen unasked, and said up or down
        self._booting_since: float | None = None
        self._beside_warm, self._beside_cold = BESIDE_PRIOR
        self._instance_id: str | None = None
        self._revision: str | None = None
        # What routing is told, from one fact to the next: the same outlook at any time, or one
        # that only the time since then changes.
        self._lasting: Outlook | None = None
        self._since: float | None = None
        self._boot_seconds = 0.0

    def boot_quantile(self, share: float) -> float | None:
        """So many boots take no longer, in seconds; None: nothing is known of them."""
        return self.boots.quantile(share)

    def boot_left_seconds(self, elapsed_seconds: float) -> float | None:
        """What three of four boots that have taken so long already do not exceed; None: not known.

        By what was seen or told of the provider, and no guess: a caller may be sent away for it.
        """
        return self.boots.left_quantile(0.75, elapsed_seconds)

    @property
    def boots_known(self) -> bool:
        """Whether a boot's length was seen, or told of the provider; else it is a guess."""
        return self.boots.quantile(0.5) is not None

    def calibration(self) -> Calibration:
        """How good P(warm) has been."""
        return self.quality

    @property
    def running(self) -> int:
        """Attempts that run."""
        return len(self._pending)

    @property
    def idle_since(self) -> float | None:
        """Since when it does nothing; None: not known, or in use."""
        return None if self._pending else self._idle_since

    @property
    def boots_now(self) -> bool:
        """Whether a boot was seen that is not known to be over."""
        return self._booting_since is not None

    @property
    def process(self) -> Probe | None:
        """Where its process stands, by the word of whoever runs it; None: nobody tells."""
        return self._supervised

    @property
    def known(self) -> bool:
        """Whether it was ever seen to be up, or not."""
        return bool(self.counts.warm or self.counts.cold) or self._told

    @property
    def informed(self) -> bool:
        """Whether anything at all is known: an outcome, a boot, its process, or more than a guess
        before.
        """
        told = self._booting_since is not None or self._supervised is not None
        return self.known or told or self.prior.source != "guess"

    @property
    def founded(self) -> bool:
        """Whether its state rests on what was seen of it, or on what was configured of it and when
        it was used; else on what such deployments usually do. What runs there is something seen.
        """
        return bool(self._pending) or not self.assumed

    @property
    def assumed(self) -> bool:
        """Whether its state is only what such deployments usually do, be it in use or not."""
        if self._down or self.is_held or self._supervised is not None or self.boots_now:
            return False
        used = self._idle_since is not None or bool(self._pending)
        return not (used and (self.known or self.prior.source == "configured"))

    def proves(self, outlook: Outlook) -> bool:
        """Whether an outlook's state was seen, and is at least 95 % sure; else it is believed.

        Time alone proves nothing of one whose keep-alive nobody knows.
        """
        state, p_warm = outlook.state, outlook.p_warm
        if state in ("booting", "unknown") or self._supervised in ("down", "ready"):
            return True
        if state == "off" and self._down:
            return True
        if self._seen is None or self._seen[0] != "warm" or self._doubted:
            return False
        if state == "warm":
            return p_warm >= _SURE or bool(self._pending and self._ready)
        is_learned = self.survival.observed > 0 or self.prior.source != "guess"
        return is_learned and p_warm <= 1.0 - _SURE

    def last_seen(self, at: float) -> Seen | None:
        """Its state when that was seen last; None: never. What is seen all the time: at ``at``."""
        process, seen = self._supervised, self._seen
        if process is not None and process != "unknown":
            return STATE_OF[process], "process", at
        at_work = seen is not None and self._pending and seen[0] == "warm" and self._ready
        return ("warm", "attempt", at) if at_work else seen

    @property
    def last_used_at(self) -> float | None:
        """When its last work ended; None: not known, or it is in use."""
        return None if self._pending else self._used_at

    @property
    def is_held(self) -> bool:
        """Whether a policy holds it, and no probe has found it down all the same."""
        return self.holding.is_on and not self._down and self._supervised != "down"
