"""One deployment as a state machine: off, booting, warm or unknown, and what to expect of it.

Sans-I/O and passive: facts in, outlooks out; nothing here wakes anything. The live gateway and a
simulation drive the same object.

Units:  seconds of one monotonic clock, the caller's (``at``); it may begin anywhere.
Shape:  ``began`` and ``ended`` come in pairs; ``booting``, ``ready`` and ``probed`` where something
        was seen. A verdict ``unknown`` is no evidence. Each prediction is made at ``began``, before
        its outcome is known, and held against it at ``ended``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.warmth.outlook import Outlook
from gateway.warmth.stand import BESIDE_PRIOR, STATE_OF, Pending, Probe, SeenBy, SeenState, Stand

Verdict: TypeAlias = Literal["cold", "warm", "unknown"]

_NOTHING_KNOWN = Outlook("unknown", 1.0, 0.0)
_WILL_WAIT, _IS_UP = 0.01, 0.99
_LOST_BOOT = 3.0  # a boot that nobody waits for is forgotten after so many of its length


class Warmth(Stand):
    """``wall_offset_seconds`` and ``at`` add up to seconds since the epoch: for the hour."""

    __slots__ = ()

    # -- facts ----------------------------------------------------------------------------------

    def began(self, attempt_id: str, at: float) -> None:
        """An attempt is sent."""
        self._lasting = self._since = None
        hour = self._hour(at)
        if self._pending or self._booting_since is not None:
            pending = Pending(self.outlook(at).p_warm, 0.0, hour)
            pending.beside = bool(self._pending) and self._ready and self._booting_since is None
        elif self.is_held:
            outlook = self._held(at)
            pending = Pending(outlook.p_warm, 0.0, hour)
            pending.kept = outlook.state == "warm"
        elif self._down or self._idle_since is None:
            pending = Pending(self._p_idle(at), 0.0, hour)
        else:
            gap = max(0.0, at - self._idle_since)
            p_curve = self._p_curve(gap)
            pending = Pending(self.hours.adjusted(p_curve, hour), p_curve, hour)
            pending.idle_seconds, pending.ready_gap = gap, self._ready_gap
            if self._supervised == "ready":
                pending.p_warm = _IS_UP
        self._pending[attempt_id] = pending

    def booting(self, at: float) -> None:
        """A boot was seen to begin, or to go on. One beside work that runs is another machine's."""
        self._lasting = self._since = None
        if not (self._ready and self._pending):
            self._sees("booting", "attempt", at)
            if self._booting_since is None:
                self._booting_since = at

    def ready(self, at: float) -> None:
        """Work has begun: a machine is up."""
        self._sees("warm", "attempt", at)
        self._is_up()

    def ended(
        self,
        attempt_id: str,
        at: float,
        *,
        verdict: Verdict,
        caused_boot: bool | None,
        boot_seconds: float | None,
        instance_id: str | None,
        revision: str | None,
        worked: bool,
        held: bool = False,
    ) -> None:
        """An attempt is over. ``boot_seconds``: of a boot that was waited out, else None.

        ``worked``: it may have used a machine. One that was served by the machine that served the
        last one found it up, whatever the provider says. ``held``: it waited for another's boot
        before it was sent, so its verdict says nothing of how it found the deployment.
        """
        self._lasting = self._since = None
        pending = self._pending.pop(attempt_id, None)
        if verdict == "unknown" and instance_id is not None and instance_id == self._instance_id:
            verdict = "warm"
        changed = None not in (revision, self._revision) and revision != self._revision
        self._count(verdict, caused_boot)
        if pending is not None and verdict != "unknown" and not held:
            self._learn(pending, verdict == "warm", changed)
        if verdict == "cold" and boot_seconds is not None and caused_boot is not False:
            self.boots.observe(boot_seconds)
        self._instance_id = instance_id or self._instance_id
        self._revision = revision or self._revision
        waits_still = verdict == "cold" and boot_seconds is None and self._booting_since is not None
        if worked and not waits_still:
            if verdict != "unknown" or self._ready:
                self._sees("warm", "attempt", at)
            else:
                self._doubted = True  # it may have been up for this, and may have had to boot
            self._is_up()
        if self._pending:
            return
        if worked:
            self._idle_since, self._ready_gap, self._used_at = at, None, at
            self._gap_held = self.holding.is_on
        self._ready = False

    def probed(self, state: Probe, at: float, by: SeenBy = "probe") -> None:
        """Its state was read, without waking it."""
        self._lasting = self._since = None
        if state == "booting":
            self.booting(at)
        if state != "unknown" and not (self._pending and self._ready):
            self._sees(STATE_OF[state], by, at)
        if state == "ready":
            self._told = True
            self.holding.is_ready()
            came_up = self._down or self._booting_since is not None
            self._booting_since, self._down = None, False
            if self._pending:
                return
            if came_up or self._idle_since is None:
                self._idle_since, self._ready_gap = at, None
                self._gap_held = self.holding.is_on
            else:
                self._ready_gap = max(0.0, at - self._idle_since)
        elif state == "down" and not self._pending:
            self._booting_since = None
            if self._down:
                return
            self._down = self._told = True
            if (
                self._idle_since is not None and not self._gap_held
            ):  # once for an idle time, however often it is asked
                if self._ready_gap is not None:
                    self.survival.observe(self._ready_gap, True)
                self.survival.observe(max(0.0, at - self._idle_since), False)
                self._ready_gap = None

    def supervised(self, state: Probe, at: float) -> None:
        """Where its process stands, told by whoever runs it, and anew whenever that changes."""
        self.probed(state, at, "process")
        self._supervised = state
        if state == "down":
            self._booting_since = None  # whoever waits for a boot waits for another one

    def keeps(self, at: float, *, boots: bool) -> None:
        """A policy of ours holds it from now on; ``boots``: it was off, and boots for that."""
        boots = boots and self._supervised != "ready"
        if self.holding.begins(at + self.boots.expected_seconds if boots else None):
            self._lasting = self._since = None
            self._down, self._gap_held = False, True
            self._doubted = self._doubted or boots

    def lets_go(self) -> None:
        """No policy holds it any more."""
        if self.holding.ends():
            self._lasting = self._since = None

    def absorb(self, older: Warmth) -> None:
        """Take in what another has seen of the same deployment before this one saw anything."""
        self._lasting = self._since = None
        for mine, theirs in (
            (self.survival, older.survival),
            (self.hours, older.hours),
            (self.boots, older.boots),
            (self.quality, older.quality),
            (self.counts, older.counts),
            (self.holding, older.holding),
        ):
            mine.absorb(theirs)  # type: ignore[arg-type]
        self._beside_warm += older._beside_warm - BESIDE_PRIOR[0]
        self._beside_cold += older._beside_cold - BESIDE_PRIOR[1]
        if self._seen is None:
            self._seen, self._doubted = older._seen, older._doubted
        self._instance_id = self._instance_id or older._instance_id
        self._revision = self._revision or older._revision
        if self._idle_since is None and not self._pending:
            self._idle_since = older._idle_since
        self._used_at = older._used_at if self._used_at is None else self._used_at

    # -- expectations ---------------------------------------------------------------------------

    def outlook(self, at: float) -> Outlook:
        """What a call that is sent at ``at`` can expect."""
        boot_seconds = self.boots.expected_seconds
        booting_since = self._booting_since
        if booting_since is not None:
            elapsed = max(0.0, at - booting_since)
            known = bool(self._pending) or self._supervised == "booting"
            if known or elapsed <= _LOST_BOOT * boot_seconds:
                left = self.boots.left_seconds(elapsed)
                return Outlook("booting", _WILL_WAIT, boot_seconds, left)
            return Outlook("unknown", self._p_idle(at), boot_seconds)
        if self._pending:
            if self._ready and self._supervised == "ready":  # it is one process: no other boots
                return Outlook("warm", _IS_UP, boot_seconds, None, "supervised")
            if self._ready:
                p_beside = self._beside_warm / (self._beside_warm + self._beside_cold)
                return Outlook("warm", p_beside, boot_seconds)
            # What runs has not said yet whether it waits: what was expected of the first counts.
            first = next(iter(self._pending.values()))
            return Outlook(self._state(first.p_warm), first.p_warm, boot_seconds)
        if self.is_held:
            return self._held(at)
        if self._supervised == "ready":
            return Outlook("warm", _IS_UP, boot_seconds, None, "supervised")
        if self._supervised == "down":
            return Outlook("off", _WILL_WAIT, boot_seconds, None, "supervised")
        p_warm = self._p_idle(at)
        return Outlook(self._state(p_warm), p_warm, boot_seconds)

    def expectation(self, at: float) -> Outlook:
        """The outlook as routing takes it: what nothing at all is known of passes for warm.

        It is asked of every candidate of every decision. What holds until the next fact is kept.
        """
        since = self._since
        if since is None:
            return self._lasting or self._expectation(at)
        gap, hours = at - since, self.hours
        p_warm = self.survival.chance(gap if gap > 0.0 else 0.0)
        if hours.differ:
            p_warm = hours.adjusted(p_warm, self._hour(at))
        return Outlook("warm" if p_warm >= 0.5 else "off", p_warm, self._boot_seconds)

    def _expectation(self, at: float) -> Outlook:
        """The first after a fact; what the next ones need of it is kept."""
        if not (self.counts.warm or self.informed or self.is_held):
            self._lasting = _NOTHING_KNOWN
            return _NOTHING_KNOWN
        outlook = self.outlook(at)
        if self._booting_since is not None:
            return outlook  # a boot changes as time passes, and goes on for a while only
        if outlook.evidence is not None:
            self._lasting = None if outlook.state == "booting" else outlook
            return outlook
        if self._pending or self._down or self._idle_since is None:
            self._lasting = outlook
        elif self._ready_gap is None and outlook.state != "unknown":
            self._since, self._boot_seconds = self._idle_since, outlook.boot_seconds
        return outlook

    def warm_until_at(self, at: float) -> float | None:
        """The instant at which the chance to find it up has halved: then the outlook changes though
        nothing happens. None where it is in use, off, held, not known, or expected to stay.
        """
        if self._pending or self._idle_since is None or self.is_held:
            return None
        if self.outlook(at).state != "warm":
            return None
        gap = self.survival.halves_at(max(0.0, at - self._idle_since))
        return None if gap is None else self._idle_since + gap

    # -- inside ---------------------------------------------------------------------------------

    def _sees(self, state: SeenState, by: SeenBy, at: float) -> None:
        self._seen, self._doubted = (state, by, at), False

    def _is_up(self) -> None:
        self._lasting = self._since = None
        self._ready, self._booting_since, self._down = True, None, False
        self.holding.is_ready()

    def _held(self, at: float) -> Outlook:
        boot_seconds, left = self.boots.expected_seconds, self.holding.left_seconds(at)
        if left > 0.0:
            return Outlook("booting", _WILL_WAIT, boot_seconds, left, "kept")
        return Outlook("warm", self.holding.p_warm, boot_seconds, None, "kept")

    def _state(self, p_warm: float) -> Literal["off", "warm", "unknown"]:
        if self._down:
            return "off"
        if not self.informed:
            return "unknown"
        return "warm" if p_warm >= 0.5 else "off"

    def _p_idle(self, at: float) -> float:
        if self._down:
            return _WILL_WAIT
        if self._idle_since is None:
            return max(_WILL_WAIT, self.prior.floor)
        gap = at - self._idle_since
        gap = gap if gap > 0.0 else 0.0
        p_curve = self.survival.chance(gap) if self._ready_gap is None else self._p_curve(gap)
        return self.hours.adjusted(p_curve, self._hour(at)) if self.hours.differ else p_curve

    def _p_curve(self, gap: float) -> float:
        chance = self.survival.chance(gap)
        if self._ready_gap is None:
            return chance
        return min(0.995, chance / self.survival.chance(min(gap, self._ready_gap)))

    def _hour(self, at: float) -> int:
        return int((at + self.wall_offset_seconds) // 3600) % 24

    def _count(self, verdict: Verdict, caused_boot: bool | None) -> None:
        counts = self.counts
        if verdict == "warm":
            counts.warm += 1
        elif verdict == "cold":
            counts.cold += 1
            counts.boots += caused_boot is True
        else:
            counts.unknown += 1

    def _learn(self, pending: Pending, warm: bool, changed: bool) -> None:
        if pending.beside:
            self._beside_warm += warm
            self._beside_cold += not warm
            self.counts.scale_outs += not warm
            return
        if pending.kept:
            self.quality.observe(pending.p_warm, warm)
            self.holding.observe(warm)
            return
        gap = pending.idle_seconds
        if gap is None:
            return
        self.quality.observe(pending.p_warm, warm)
        if changed and not warm:
            self.counts.new_revisions += 1
            return
        self.hours.observe(pending.hour, pending.p_curve, warm)
        if pending.ready_gap is not None and not warm:
            self.survival.observe(pending.ready_gap, True)
        self.survival.observe(gap, warm)
