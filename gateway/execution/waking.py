"""One wake for many callers: who is sent to a deployment that is cold, and who waits for that.

While a deployment is off, as far as its warmth is known, or boots, its gate is narrow: one attempt
is sent there and wakes it, the others wait in the gate's queue. The gate opens as soon as work is
seen to begin. If the attempt fails instead, its place goes to the one who has waited longest, who
wakes it anew. Who waits has asked nobody: nothing is written down, set aside or billed.

The wake is the first caller's own attempt and not ``warm()``: it does that caller's work at the
same time, its events say when work begins, its cost and its verdict are booked like any other's,
and every provider has it. Where its caller leaves, the next one's attempt takes its place.

A deployment that is warm, or of which nothing is known, is never held back. One that is only
believed to be off may be up: if its boot is not proved within ``proof_seconds`` of the dispatch the
gate opens, so that nobody waits for the whole of somebody else's work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection

from gateway.accounting.timeline import Timeline
from gateway.execution.booting import come_back_seconds
from gateway.ledger.rows import AttemptRow
from gateway.limits.gate import Gate, GateFull, Waiter
from gateway.warmth.warmth import Warmth
from providers.contract import Booting, Evidence

_AT_ONCE = 16  # told of a boot in one turn of the event loop


class Boot:
    """A boot that others than its attempt wait for. Monotonic; ``until`` None: it goes on.

    ``anew_at``: when it last began from the start, after an attempt that failed.
    """

    __slots__ = ("anew_at", "evidence", "since", "until")

    def __init__(self, evidence: Evidence, since: float) -> None:
        self.evidence = evidence
        self.since = self.anew_at = since
        self.until: float | None = None


class Held(Waiter):
    """One who waits for a place at a deployment; ``tell`` is called once, of a boot that is proved.

    ``boot``: the one that it waits for, or waited for; ``booked``: its row says so.
    ``deployment``: where it waits now; ``elsewhere``: others that may serve it.
    """

    __slots__ = ("_waking", "booked", "boot", "deployment", "elsewhere", "tell")

    def __init__(
        self,
        waking: Waking,
        deployment: str,
        size_bytes: int,
        tell: Callable[[Booting], None],
        monotonic: Callable[[], float],
        elsewhere: Collection[str] = (),
    ) -> None:
        super().__init__(size_bytes, monotonic)
        self._waking = waking
        self.deployment = deployment
        self.elsewhere = elsewhere
        self.tell = tell
        self.boot: Boot | None = None
        self.booked = False

    @property
    def cold(self) -> bool:
        """Whether it waits because the deployment is off or boots, as far as is known."""
        return self._waking.cold

    @property
    def boots(self) -> bool:
        """Whether it waits for a boot that was proved and goes on."""
        return self.boot is not None and self.boot.until is None

    @property
    def seconds(self) -> float:
        """How long it waited for its place; 0 while it still does."""
        return 0.0 if self.until is None else self.until - self.since

    @property
    def boot_seconds(self) -> float | None:
        """How long of it for a boot that was proved; None: for none."""
        boot, until = self.boot, self.until
        if boot is None or until is None:
            return None
        end = until if boot.until is None else min(until, boot.until)
        return max(0.0, end - max(self.since, boot.since))

    def left_seconds(self, at: float) -> float | None:
        """How much longer the boot may last; None: nobody knows."""
        return self._waking.left_seconds(at)

    def move(self, name: str, waking: Waking) -> None:
        """Wait at another deployment from now on."""
        self._waking, self.deployment = waking, name

    def book(self, row: AttemptRow) -> bool:
        """Write into a row the boot that was waited out before; False: there was none.

        A row that is cold by itself stays as it is: it waited for another boot, its own.
        """
        seconds = self.boot_seconds
        if self.boot is None or seconds is None or row.verdict == "cold":
            return False
        row.verdict, row.evidence, row.caused_boot = "cold", self.boot.evidence, False
        row.boot_seconds = round(seconds, 6)
        row.wait_seconds = round((row.wait_seconds or 0.0) + self.seconds, 6)
        return True


class Waking:
    """The gate of one deployment, narrow while it is cold.

    ``at_once``: how many attempts are sent there then; None: as many as ever. Instants are
    monotonic.
    """

    __slots__ = (
        "_alarm",
        "_anew",
        "_at_once",
        "_gate",
        "_proof_seconds",
        "_untold",
        "_warmth",
        "boot",
        "cold",
    )

    def __init__(
        self, gate: Gate[Held], warmth: Warmth, at_once: int | None, proof_seconds: float
    ) -> None:
        self._gate = gate
        self._warmth = warmth
        self._at_once = at_once
        self._proof_seconds = proof_seconds
        self._alarm: asyncio.TimerHandle | None = None
        self._anew = False  # whether the attempt that wakes it is another one than told of the boot
        self._untold: deque[Held] = deque()
        self.cold = False  # whether the gate is narrow
        self.boot: Boot | None = None

    def try_enter(self, at: float) -> bool:
        """Take a place at once if there is one and nobody waits."""
        gate = self._gate
        if self._at_once is not None and not gate.held and not gate.queued:
            self._look(at)
        return gate.try_enter()

    def join(
        self,
        deployment: str,
        size_bytes: int,
        tell: Callable[[Booting], None],
        monotonic: Callable[[], float],
        elsewhere: Collection[str] = (),
    ) -> Held:
        """Stand in the queue for a place at this ``deployment``. Raises GateFull."""
        held = Held(self, deployment, size_bytes, tell, monotonic, elsewhere)
        self._gate.join(held)
        if self.boot is not None:
            held.boot = self.boot
            tell(Booting(self.boot.evidence, False))
        return held

    def send_on(self, name: str, there: Waking) -> None:
        """Another deployment is up first: who waits here and may be served there waits there.

        As far as its queue has room.
        """
        for held in [held for held in self._gate.waiting if name in held.elsewhere]:
            try:
                self._gate.move(held, there._gate)
            except GateFull:
                return
            held.move(name, there)

    def asks(self, *, again: bool) -> None:
        """An attempt asks the deployment, for the first time or ``again``."""
        self._anew = self._anew or not again
        if self.cold and self._alarm is None:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(self._proof_seconds, self._open)

    def boots(self, evidence: Evidence, at: float) -> None:
        """A boot was seen to begin, or to go on, by an attempt that waits for it."""
        if evidence == "latency_only":
            return
        self._warmth.booting(at)
        if self._at_once is None or not self._warmth.boots_now:
            return
        self._disarm()
        self.cold = True
        self._gate.narrow(self._at_once)
        if self.boot is None:
            self.boot = Boot(evidence, at)
            self._untold = deque(self._gate.waiting)
            for held in self._untold:
                held.boot = self.boot
            self._tell_some()
        elif self._anew:
            self.boot.anew_at = at
        self._anew = False

    def works(self, at: float) -> None:
        """Work was seen to begin."""
        self._warmth.ready(at)
        if self.cold:
            if self.boot is not None:
                self.boot.until = at
            self._open()

    def ended(
        self, row: AttemptRow, timeline: Timeline, held: Held | None, *, worked: bool
    ) -> None:
        """An attempt is over and settled; ``worked``: it may have used a machine."""
        assert row.completed_at_us is not None
        at = timeline.begun_at + (row.completed_at_us - row.begun_at_us) / 1e6
        if row.status == "succeeded" and self.cold:
            self.works(at)  # nothing else said so
        self._warmth.ended(
            row.attempt_id,
            at,
            verdict=row.verdict,
            caused_boot=row.caused_boot,
            boot_seconds=row.boot_seconds if timeline.work_began else None,
            instance_id=row.instance_id,
            revision=row.upstream_revision,
            worked=worked,
            held=held is not None and held.booked,
        )

    def left_seconds(self, at: float) -> float | None:
        """How much longer a boot that was proved may last, by what was seen there and no guess."""
        if self.boot is None:
            return None
        return self._warmth.boot_left_seconds(at - self.boot.anew_at)

    def come_back_seconds(self, at: float) -> float:
        """When one for whom there is no room should come back."""
        if not self.cold:
            return 1.0
        return come_back_seconds(self.left_seconds(at))

    def _look(self, at: float) -> None:
        """Whether one who comes to a deployment that runs nothing will have to wake it."""
        warmth, self.boot = self._warmth, None
        if warmth.founded and warmth.outlook(at).state in ("off", "booting"):
            self.cold = True
            self._gate.narrow(self._at_once or 1)
        elif self.cold:
            self._open()

    def _open(self) -> None:
        """Hold nobody back any more."""
        self._disarm()
        self.cold, self.boot = False, None
        self._gate.widen()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _tell_some(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._untold:
                return
            held = self._untold.popleft()
            if held.boot is not None and not held.place.done():
                held.tell(Booting(held.boot.evidence, False))
        asyncio.get_running_loop().call_soon(self._tell_some)
