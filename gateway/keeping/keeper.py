"""Keeps one deployment warm as its policy says, and books what that costs.

The policy decides (``warmth.policies``); this tells it what happens, does what it says, by the
provider's own scale where there is one and else by asking it to boot again and again, and writes
each stay beyond the provider's own window down in ``keep_warm`` charges, by the hour. Where a
month's budget is used up it lets go, and begins anew with the next month.

What a provider holds, it bills, so the journal knows of a stay before the provider is asked for it,
and that it has ended once the provider has let go: a refusal to let go is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from gateway.execution.charging import Charging
from gateway.keeping.booking import book_slice
from gateway.keeping.settings import KeepWarmSettings
from gateway.keeping.spending import Spending
from gateway.keeping.stays import Slice, Stays
from gateway.registry import Target
from gateway.warmth.policies.base import Action, Arrived, Idled, Policy, WentOff
from providers.contract import (
    EndsWithGateway,
    ModelLoading,
    Probeable,
    ProtocolViolation,
    ProviderError,
    Scalable,
    Warmable,
)

logger = logging.getLogger(__name__)

PING_SHARE = 0.8  # of the provider's window: a ping that comes late comes to a cold machine
_UNKNOWN_WINDOW_SECONDS = 60.0
_AGAIN_US = 30_000_000  # a provider that did not hold it, or not let go, is asked again
_LATEST_US = 600_000_000  # the former ever later, up to this


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
        self._policy = policy
        self._charging = charging
        self._clock = charging.clock
        budget_usd = settings.monthly_budget_usd
        self._spending = Spending(target, budget_usd, self._now_us(), spent_pico_usd)
        self._changed = asyncio.Event()
        self._running = 0
        self._booted_ahead = False
        self._held = False
        self._release_at_us: int | None = None  # when a provider is asked again to let go
        self._hold_at_us: int | None = None  # when it is asked again to hold it
        self._hold_pause_us = _AGAIN_US
        self._opened_us: int | None = None  # the begin of the stay that the journal knows of
        self._works_us: int | None = None  # or of the work, while its provider holds it
        self._ends_us: int | None = None  # when that stay ends, as the journal has it
        self._pinged_us: int | None = None
        known = target.own_window_seconds
        self._own_window_us = round((known or 0.0) * 1e6)
        self._stays = Stays(self._own_window_us, round(settings.boot_seconds * 1e6))
        self._idle_since_us: int | None = None
        self._ping_us = round((known or _UNKNOWN_WINDOW_SECONDS) * PING_SHARE * 1e6)

    @property
    def spent_pico_usd(self) -> int:
        """Booked in this month."""
        return self._spending.spent_pico_usd

    def takes_over(self, since_us: int, told_us: int) -> None:
        """An earlier gateway left it held, since then; it is booked up to ``told_us``."""
        self._held, self._opened_us = True, since_us
        self._stays.takes_over(since_us, told_us)

    def arrived(self) -> None:
        """Somebody comes, and is sent there at once or waits for it."""
        self._policy.observe(Arrived(self._now_us()))

    def begun(self) -> None:
        """An attempt begins."""
        now = self._now_us()
        self._running += 1
        if self._running == 1:
            self._charging.tick()
            self._forget()  # the journal has the begin of the attempt, which says enough
            if self._held and not isinstance(self._target.deployment, EndsWithGateway):
                # It is held on, and a death would leave it so. This comes before the booking of
                # what the attempt has ended: after a death between the two, both are booked.
                self._works_us = now
                self._charging.goes_on(self._target, "keep_warm", now, works=True)
            self._book(self._stays.used(now))
            self._release_at_us = self._hold_at_us = None
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

    def called_off(self) -> None:
        """An attempt has ended that asked for nothing but a boot: no machine idles after it.

        Unless the policy had it up or booting: then that has to be let go some time.
        """
        if self._held or self._booted_ahead or self._pinged_us is not None:
            self.ended(None)
            return
        self._running -= 1
        if not self._running:
            self._policy.observe(WentOff(self._now_us()))
            self._changed.set()

    async def run(self) -> None:
        """Act until cancelled. What a provider refuses is logged, and tried again with the next."""
        # A gateway that died may have left it held.
        self._held = isinstance(self._target.deployment, Scalable)
        await self._let_go()
        while True:
            self._changed.clear()
            now = self._now_us()
            self._spending.turn_month(now)
            self._book(self._stays.over(now) or self._stays.cut(now))
            if self._stays.paid_from_us is None and not self._running:
                self._forget()
                self._pinged_us, self._booted_ahead = None, False
            for action in self._policy.decide(now):
                await self._act(action)
            await self._hold()
            await self._wait()

    async def aclose(self) -> None:
        """Let go of what is held, so that nothing stays up for a gateway that is gone.

        What its provider does not let go of is left open in the journal, for the next start.
        """
        stays = self._stays
        if not await self._release():
            self._open()
            self._book(stays.tell(self._now_us()))
        elif isinstance(self._target.deployment, EndsWithGateway):
            self._let_gone(stays.closes(self._now_us()))
        else:
            self._let_gone(stays.lets_go(self._now_us(), self._up_until_us()))
            if stays.gone_us is not None:  # it goes some time after this gateway
                self._book(stays.over(stays.gone_us))

    async def _act(self, action: Action) -> None:
        now = self._now_us()
        if action == "release":
            await self._let_go()
        elif not (self._running or self._is_broke(now)):  # what works is up, and idles after it
            self._release_at_us = self._hold_at_us = None
            self._booted_ahead = self._stays.warms(now) or self._booted_ahead
            await self._keep()

    async def _hold(self) -> None:
        """While it idles and the policy has not let go: keep it, as far as the budget reaches."""
        now = self._now_us()
        if self._release_at_us is not None:
            if now >= self._release_at_us:
                await self._let_go()
            return
        if self._running:
            return
        if self._hold_at_us is not None and now >= self._hold_at_us and not self._stays.holds:
            self._hold_at_us = None
            await self._act("warm")
        if not self._stays.holds:
            return
        if self._is_broke(now):
            await self._let_go()
        else:
            await self._keep()

    async def _let_go(self) -> None:
        stay_us, self._hold_at_us = self._stays.paid_from_us, None
        if not await self._release():
            self._open()  # it goes on, wanted or not
            self._release_at_us = self._now_us() + _AGAIN_US
            return
        self._release_at_us = None
        if stay_us is None or stay_us != self._stays.paid_from_us:
            return  # a request came meanwhile
        self._let_gone(self._stays.lets_go(self._now_us(), self._up_until_us()))
        self._pinged_us, self._booted_ahead = None, False

    def _up_until_us(self) -> int:
        """Until when its provider keeps it up for having been asked; 0: it was not."""
        asked = self._pinged_us
        return 0 if asked is None else asked + self._own_window_us

    async def _keep(self) -> None:
        deployment, now = self._target.deployment, self._now_us()
        if isinstance(deployment, Scalable):
            if not self._held or (self._hold_at_us is not None and now >= self._hold_at_us):
                await self._ask_to_hold(deployment)
            else:
                self._open()
        elif isinstance(deployment, Warmable):
            touched_us = self._touched_us()
            if touched_us is None or now - touched_us >= self._ping_us:
                await self._ping(deployment, now)

    def _touched_us(self) -> int | None:
        """When it was asked to boot, or last used: the provider's window begins with either."""
        if self._booted_ahead:
            return self._pinged_us
        known_us = (self._pinged_us, self._idle_since_us)
        return max((at_us for at_us in known_us if at_us is not None), default=None)

    async def _ping(self, deployment: Warmable, now: int) -> None:
        """One that is refused keeps nothing up: that ends as it would have without it."""
        self._open()
        stay_us, before_us = self._stays.paid_from_us, self._pinged_us
        touched_us, self._pinged_us = self._touched_us(), now
        self._tell_warmth(True)  # it boots from now on, however long the call takes
        error = await self._call(deployment.warm)
        await self._tell_outcome(error is None)
        if error is None or not _refused(error):
            self._hold_pause_us = _AGAIN_US
            return
        self._pinged_us = before_us
        if stay_us != self._stays.paid_from_us:
            return  # a request came meanwhile
        self._ask_later()
        if touched_us is None:
            self._let_gone(self._stays.drops(), self._opened_us)
            self._booted_ahead = False
        else:
            up_until_us = touched_us + self._own_window_us
            at_us = min(self._now_us(), up_until_us)
            self._let_gone(self._stays.lets_go(at_us, up_until_us))

    async def _ask_to_hold(self, deployment: Scalable) -> None:
        """One that refuses holds nothing; one that fails may, and is to be asked to let go."""
        self._open()
        was_held, stay_us = self._held, self._stays.paid_from_us
        self._held, self._hold_at_us = True, None
        self._tell_warmth(True)  # it boots from now on, however long the call takes
        error = await self._call(lambda: deployment.scale(1))
        await self._tell_outcome(error is None)
        if error is None:
            self._hold_pause_us = _AGAIN_US
            return
        self._held = was_held or not _refused(error)
        if stay_us != self._stays.paid_from_us:  # a request came meanwhile
            if self._running and not self._held:
                self._let_gone(())
            return
        self._ask_later()
        if not self._held:
            self._let_gone(self._stays.drops(), self._opened_us)
            self._booted_ahead = False

    def _ask_later(self) -> None:
        self._hold_at_us = self._now_us() + self._hold_pause_us
        self._hold_pause_us = min(2 * self._hold_pause_us, _LATEST_US)

    async def _release(self) -> bool:
        """Whether its provider does not hold it, or not any more."""
        deployment = self._target.deployment
        if self._held and isinstance(deployment, Scalable):
            self._held = await self._call(lambda: deployment.scale(0)) is not None
        if not self._held:
            self._tell_warmth(False)
        return not self._held

    def _tell_warmth(self, held: bool) -> None:
        """Who expects something of the deployment is to know that it is held."""
        warmth = self._target.warmth
        if held:
            warmth.keeps(self._clock.monotonic(), boots=self._stays.boots_ahead)
        else:
            warmth.lets_go()

    async def _tell_outcome(self, held: bool) -> None:
        """It was asked for; some providers answer at once, others once the machine is up."""
        deployment = self._target.deployment
        if not held:
            self._tell_warmth(False)
        elif self._stays.boots_ahead and isinstance(deployment, Probeable):
            with suppress(ProviderError):
                if await deployment.probe() == "ready":
                    self._target.warmth.probed("ready", self._clock.monotonic())

    def _open(self) -> None:
        """Let the journal know of the stay, before it costs."""
        since_us = self._stays.paid_from_us
        if since_us is not None and (since_us != self._opened_us or self._ends_us is not None):
            self._forget()
            self._opened_us = since_us
            self._charging.goes_on(self._target, "keep_warm", since_us)

    def _let_gone(self, last: Sequence[Slice], ended_us: int | None = None) -> None:
        """It was let go: book its last, or let the journal know when it has ended, or will."""
        self._book(last)
        if self._works_us is not None:
            self._charging.goes_on(self._target, "keep_warm", self._works_us, self._works_us)
            self._forget()
        if self._opened_us is None:
            return
        gone_us = self._stays.gone_us
        if not last:
            ended_us = self._now_us() if ended_us is None else ended_us
            self._ends_us = ended_us if gone_us is None else gone_us
            self._charging.goes_on(self._target, "keep_warm", self._opened_us, self._ends_us)
        if gone_us is None:
            self._forget()

    def _forget(self) -> None:
        self._opened_us = self._works_us = self._ends_us = None

    async def _call(self, call: Callable[[], Awaitable[None]]) -> ProviderError | None:
        try:
            await call()
        except ProviderError as error:
            logger.warning("%s: not kept warm: %s", self._target.name, type(error).__name__)
            return error
        except Exception:
            # A fault in an adapter must not end the keeping: what is held would never be let go.
            logger.exception("%s: the adapter failed at keeping it warm", self._target.name)
            return ProtocolViolation()
        return None

    async def _wait(self) -> None:
        """Until something happens, or the policy, a slice, a ping or the budget wants a look."""
        now, stays = self._now_us(), self._stays
        times = [self._policy.next_wakeup(), stays.gone_us, stays.cut_us]
        times += [self._release_at_us, self._hold_at_us]
        if self._release_at_us is None:
            times.append(self._broke_at(now))
        if stays.holds and not isinstance(self._target.deployment, Scalable):
            touched_us = self._touched_us()
            times.append(None if touched_us is None else touched_us + self._ping_us)
        known = [time for time in times if time is not None]
        seconds = max(0.0, (min(known) - now) / 1e6) if known else None
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _book(self, slices: Iterable[Slice]) -> None:
        """Write them down, and spend them."""
        for piece in slices:
            pico_usd = book_slice(self._charging, self._target, piece)
            self._spending.book(piece.begin_us, pico_usd)

    def _broke_at(self, now_us: int) -> int | None:
        """When the stay that runs will have used the month's budget up; None: not by this."""
        begin_us = self._stays.untold_from_us
        if begin_us is None or not self._stays.holds:
            return None
        return self._spending.lasts_until_us(begin_us, now_us)

    def _is_broke(self, now_us: int) -> bool:
        at_us = self._broke_at(now_us)
        return self._spending.is_used_up or (at_us is not None and at_us <= now_us)

    def _now_us(self) -> int:
        return self._clock.wall_us()


def _refused(error: ProviderError) -> bool:
    """Whether for having asked nothing is held, or boots."""
    return not (error.spends or error.may_have_run or isinstance(error, ModelLoading))
