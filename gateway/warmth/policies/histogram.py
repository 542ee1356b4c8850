"""Windows of least expected cost from a deployment's own gaps. Standard library only.

Two histograms of the gaps so far, one that trusts them soon and one that does so late, give two
plans. Each gap that ends is also counted under both plans and under a plain window, the best one
for a deployment of which nothing is known; a plan is used only while its lead over the plain window
is larger than what chance would explain, and that whether waiting is worth a third of what it is
said to be or three times as much. A plan that only buys fewer waits with more idle time, or the
other way round, is no better than another plain window, at this deployment or at the next: it has
to save both, or one for nearly nothing of the other. So what has no pattern is kept for a fixed
time. Whatever is used, ``Bank`` bounds what all gaps together can cost; beyond it the break-even
window is held.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gateway.warmth.gaps import PRIOR, GapHistogram
from gateway.warmth.policies.base import Bank, WindowPolicy
from gateway.warmth.windows import Stakes, Windows, gap_parts, hold, plan, worst_excess_usd

PRIOR_GAPS = (3.0, 30.0)
SLOW_DECAY = 0.995
NEEDED_SIGMAS = 2.0
WORTHS = (1 / 3, 3.0)
"""Of waiting, as shares of what it is said to be: who leads at both leads between them too."""
_ALLOWED_MISSES = 5.0
_BANKED_MISSES = 200.0


class Rival:
    """One way to plan gaps, and how far ahead of the break-even window it is so far."""

    __slots__ = ("_gaps", "_leads", "_miss_usd", "windows", "worst_usd")

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.worst_usd = 0.0
        """What the worst gap costs above twice what it costs who knows it."""
        self._gaps = self._miss_usd = 0.0
        self._leads = [(0.0, 0.0)] * len(WORTHS)
        """At each worth of waiting: the lead, and the sum of the squared differences."""

    def set(self, windows: Windows, stakes: Stakes) -> None:
        """Its plan from now on."""
        self.windows = windows
        self.worst_usd = worst_excess_usd(windows, stakes)
        self._miss_usd = stakes.miss_usd

    def count(self, saved_usd: float, saved_wait_usd: float, decay: float) -> None:
        """One more gap, in which so much less would have been paid, and waited for."""
        self._gaps = self._gaps * decay + 1.0
        for number, worth in enumerate(WORTHS):
            lead, spread = self._leads[number]
            usd = saved_usd + worth * saved_wait_usd
            self._leads[number] = (lead * decay + usd, spread * decay + usd * usd)

    @property
    def sure_usd(self) -> float:
        """The least lead of all worths, without what chance explains.

        Chance: so many standard deviations of the sum, and one miss that has not come yet.
        """
        if not self._gaps:
            return 0.0
        return min(
            lead - NEEDED_SIGMAS * self._deviation(lead, spread) for lead, spread in self._leads
        )

    def _deviation(self, lead: float, spread: float) -> float:
        around_mean = max(0.0, spread - lead * lead / self._gaps)
        return math.sqrt(around_mean + self._miss_usd * self._miss_usd)


class Callers:
    """How many requests wait for one boot: the first whole, later ones the rest of it."""

    __slots__ = ("_boot_us", "_mean", "_open", "_since_us")

    def __init__(self, boot_seconds: float) -> None:
        self._boot_us = max(1, round(boot_seconds * 1e6))
        self._mean = 1.0
        self._since_us = -1
        self._open = 0.0

    @property
    def mean(self) -> float:
        """Waits for a boot, each as a share of it, over the last fifty or so."""
        return self._mean

    def begin(self, at_us: int) -> None:
        """A gap has ended: the request that would have caused a boot."""
        if self._open:
            self._mean += (self._open - self._mean) * 0.02
        self._open = 1.0
        self._since_us = at_us

    def arrive(self, at_us: int) -> None:
        """Another request."""
        passed = at_us - self._since_us
        if self._open and 0 < passed < self._boot_us:
            self._open += 1 - passed / self._boot_us


class Histogram(WindowPolicy):
    """Learns as it goes; see the module."""

    __slots__ = (
        "_bank",
        "_base",
        "_callers",
        "_decay",
        "_gaps",
        "_next",
        "_prior",
        "_safe",
        "_used",
        "rivals",
    )

    def __init__(
        self,
        stakes: Stakes,
        *,
        prior: Sequence[float] = PRIOR,
        decay: float = SLOW_DECAY,
    ) -> None:
        super().__init__(stakes)
        tau = stakes.break_even_seconds
        self._safe: Windows = ((0.0, math.inf if tau is None else tau),)
        self._prior = prior
        self._base = Rival(self._safe if tau is None else hold(PRIOR, stakes))
        self._base.set(self._base.windows, stakes)
        self._gaps = GapHistogram(decay)
        self._decay = decay
        self._callers = Callers(stakes.boot_seconds)
        self.rivals = [Rival(self._base.windows) for _ in PRIOR_GAPS]
        self._next = 0
        self._used: Windows = self._safe
        self._bank = Bank(_ALLOWED_MISSES * stakes.miss_usd, _BANKED_MISSES * stakes.miss_usd)

    def _plan(self, now_us: int) -> Windows:
        best = max(self.rivals, key=lambda rival: rival.sure_usd)
        if best.sure_usd > 0 and best.worst_usd <= self._bank.credit_usd:
            self._used = best.windows
            return best.windows
        return self._plain()

    def _plain(self) -> Windows:
        """The plain window; where the credit does not bear it, the break-even."""
        bears = self._base.worst_usd <= self._bank.credit_usd
        self._used = self._base.windows if bears else self._safe
        return self._used

    def _learn(self, now_us: int, gap_seconds: float) -> None:
        stakes, callers = self.stakes, self._callers.mean
        base_usd, base_waits = gap_parts(self._base.windows, gap_seconds, stakes, callers)
        value = stakes.wait_value_usd_per_second
        for rival in self.rivals:
            usd, waits = gap_parts(rival.windows, gap_seconds, stakes, callers)
            rival.count(base_usd - usd, (base_waits - waits) * value, self._decay)
        self._bank.book(self._used, gap_seconds, stakes)
        self._callers.begin(now_us)
        self._gaps.add(gap_seconds)
        if self._gaps.seen >= self._next:
            self._replan()

    def _arrive(self, now_us: int) -> None:
        self._callers.arrive(now_us)

    def _replan(self) -> None:
        """Plan anew each time a tenth more is known, and every twenty gaps later on."""
        seen = self._gaps.seen
        self._next = seen + max(1, min(20, seen // 10))
        if self.stakes.break_even_seconds is None:
            return  # idle seconds cost nothing: it is never let go
        for rival, prior_gaps in zip(self.rivals, PRIOR_GAPS, strict=False):
            masses: Sequence[float] = self._gaps.masses(self._prior, prior_gaps)
            rival.set(plan(masses, self.stakes, self._callers.mean), self.stakes)
