"""Keeps one deployment warm as its policy says, and books what that costs.

The policy decides (``warmth.policies``); this tells it what happens, does what it says, by the
provider's own scale where there is one and else by asking it to boot again and again, and writes
each stay beyond the provider's own window down as a ``keep_warm`` charge. Where a month's budget is
used up it lets go, and begins anew with the next month.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from gateway.accounting.lines import Line
from gateway.accounting.pricing import Seconds, second_line
from gateway.charging import Charging
from gateway.keeping.settings import KeepWarmSettings
from gateway.keeping.stays import Stay, Stays
from gateway.registry import Target
from gateway.warmth.policies.base import Action, Arrived, Idled, Policy
from providers.contract import ProviderError, Scalable, Warmable

logger = logging.getLogger(__name__)

_PING_SHARE = 0.8  # of the provider's window: a ping that comes late comes to a cold machine
_UNKNOWN_WINDOW_SECONDS = 60.0
_PICO = Decimal(1_000_000_000_000)


class Keeper:
    """One deployment and its policy. All methods belong to the event loop's thread."""

    def __init__(
        self,
        target: Target,
        settings: KeepWarmSettings,
        policy: Policy,
        charging: Charging,
        spent_pico_usd: int = 0,
    ) -> None:
        self._target = target
        self._settings = settings
        self._policy = policy
        self._charging = charging
        self._clock = charging.clock
        self._month = self._month_of(self._now_us())
        self._spent = spent_pico_usd
        self._changed = asyncio.Event()
        self._running = 0
        self._booted_ahead = False
        self._held = False
        self._pinged_us: int | None = None
        known = target.own_window_seconds
        self._own_window_us = round((known or 0.0) * 1e6)
        self._stays = Stays(self._own_window_us, round(settings.boot_seconds * 1e6))
        self._idle_since_us: int | None = None
        self._ping_us = round((known or _UNKNOWN_WINDOW_SECONDS) * _PING_SHARE * 1e6)

    @property
    def spent_pico_usd(self) -> int:
        """Booked in this month."""
        return self._spent

    def arrived(self) -> None:
        """Somebody comes, and is sent there at once or waits for it."""
        self._policy.observe(Arrived(self._now_us()))

    def begun(self) -> None:
        """An attempt begins."""
        now = self._now_us()
        self._running += 1
        if self._running == 1:
            self._charging.tick()
            self._book(self._stays.used(now))
            self._changed.set()

    def ended(self, ready_us: int | None) -> None:
        """An attempt has ended; it waited until ``ready_us`` for a boot that it had not caused."""
        self._running -= 1
        self._book(self._stays.joined(ready_us))
        if not self._running:
            now = self._now_us()
            self._policy.observe(Idled(now))
            self._stays.idles(now)
            self._idle_since_us, self._booted_ahead = now, False
            self._changed.set()

    async def run(self) -> None:
        """Act until cancelled. What a provider refuses is logged, and tried again with the next."""
        # A gateway that died may have left it held.
        self._held = isinstance(self._target.deployment, Scalable)
        await self._release()
        while True:
            self._changed.clear()
            now = self._now_us()
            self._turn_month(now)
            self._book(self._stays.over(now))
            for action in self._policy.decide(now):
                await self._act(action)
            await self._hold()
            await self._wait()

    async def aclose(self) -> None:
        """Let go of what is held, so that nothing stays up for a gateway that is gone."""
        self._book(self._stays.closes(self._now_us()))
        await self._release()

    async def _act(self, action: Action) -> None:
        now = self._now_us()
        if action == "release":
            await self._let_go(now)
        elif not self._is_broke(now):
            self._booted_ahead = self._stays.warms(now) or self._booted_ahead
            await self._keep()

    async def _hold(self) -> None:
        """While it idles and the policy has not let go: keep it, as far as the budget reaches."""
        if not self._stays.holds or self._running:
            return
        now = self._now_us()
        if self._is_broke(now):
            await self._let_go(now)
        else:
            await self._keep()

    async def _let_go(self, now_us: int) -> None:
        asked = self._pinged_us
        self._book(self._stays.lets_go(now_us, 0 if asked is None else asked + self._own_window_us))
        await self._release()

    async def _keep(self) -> None:
        deployment, now = self._target.deployment, self._now_us()
        if isinstance(deployment, Scalable):
            if not self._held:
                self._held = await self._call(lambda: deployment.scale(1))
        elif isinstance(deployment, Warmable):
            # The last request is as good as a ping: the provider's window begins with it.
            last = self._pinged_us if self._booted_ahead or self._pinged_us else self._idle_since_us
            if last is None or now - last >= self._ping_us:
                self._pinged_us = now
                await self._call(deployment.warm)

    async def _release(self) -> None:
        deployment, self._pinged_us = self._target.deployment, None
        if self._held and isinstance(deployment, Scalable):
            self._held = not await self._call(lambda: deployment.scale(0))

    async def _call(self, call: Callable[[], object]) -> bool:
        try:
            await call()  # type: ignore[misc]
        except ProviderError as error:
            logger.warning("%s: not kept warm: %s", self._target.name, type(error).__name__)
            return False
        return True

    async def _wait(self) -> None:
        """Until something happens, or the policy, a ping or the budget wants a look."""
        now = self._now_us()
        times = [self._policy.next_wakeup(), self._broke_at(now), self._stays.gone_us]
        if self._stays.holds and not isinstance(self._target.deployment, Scalable):
            asked = self._pinged_us or self._idle_since_us
            times.append(None if asked is None else asked + self._ping_us)
        known = [time for time in times if time is not None]
        seconds = max(0.0, (min(known) - now) / 1e6) if known else None
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _book(self, stay: Stay | None) -> None:
        """Write a stay down, and spend it."""
        if stay is None:
            return
        target, begin_us, end_us = self._target, stay.begin_us, stay.end_us
        row = None if target.tariff is None else target.tariff.at(begin_us)
        seconds = (end_us - begin_us) / 1e6
        if row is None:
            quantity = Decimal(end_us - begin_us) / 1_000_000
            line = Line("idle_seconds", quantity, None, None, None, "unknown", Decimal(0), None)
        else:
            rate = self._usd_per_second(begin_us)
            line = second_line(row, "idle", rate, Seconds(seconds, 0.0, seconds))
        self._charging.book_kept(target, line, (begin_us, end_us), stay.rule)
        self._spent += 0 if line.usd is None else int(line.usd * _PICO)
        if target.machines is not None:
            ended = self._clock.monotonic() - (self._now_us() - end_us) / 1e6
            target.machines.keep(ended - seconds, ended)

    def _usd_per_second(self, now_us: int) -> Decimal:
        tariff = self._target.tariff
        row = None if tariff is None else tariff.at(now_us)
        if row is None or row.usd_per_second is None or "idle" not in row.bills:
            return Decimal(0)
        return row.usd_per_second

    def _broke_at(self, now_us: int) -> int | None:
        """When the stay that runs will have used the month's budget up; None: not by this."""
        budget, rate = self._settings.monthly_budget_usd, self._usd_per_second(now_us)
        begin = self._stays.paid_from_us
        if budget is None or begin is None or not self._stays.holds or not rate:
            return None
        left_usd = budget - Decimal(self._spent) / _PICO
        return begin + int(max(Decimal(0), left_usd) / rate * 1_000_000)

    def _is_broke(self, now_us: int) -> bool:
        budget = self._settings.monthly_budget_usd
        if budget is not None and Decimal(self._spent) / _PICO >= budget:
            return True
        at = self._broke_at(now_us)
        return at is not None and at <= now_us

    def _turn_month(self, now_us: int) -> None:
        month = self._month_of(now_us)
        if month != self._month:
            self._month, self._spent = month, 0

    def _now_us(self) -> int:
        return self._clock.wall_us()

    @staticmethod
    def _month_of(at_us: int) -> str:
        return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m}"
