"""Money set aside for one attempt, and raised in slices while the attempt goes on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import BudgetRanOut
from gateway.ledger.reading.counting import counted_pico_usd
from gateway.ledger.rows import AttemptRow
from gateway.limits.book import Book
from gateway.limits.exposure import Exposure

# A provider may count a third more tokens than the estimator makes of the bytes that were seen.
_BYTES_SHARE = 0.75
_SOONEST_SECONDS = 0.02
_LATEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come. ``billed_us``: microseconds that its price may bill."""

    text_bytes: int
    images: int
    billed_us: int


class Hold:
    """The lease of one attempt. ``settle`` it on every way out.

    Asks for the next slice once half of what is ahead is used up. When there is none to be had,
    the attempt goes on until it has used what it holds, asking again each time half of the rest is
    gone; then it ends with ``BudgetRanOut``.
    """

    __slots__ = (
        "_book",
        "_cut",
        "_exposure",
        "_images",
        "_keep",
        "_next_bytes",
        "_progress",
        "_ran_out",
        "_renewing",
        "_row",
        "_timer",
        "pico_usd",
    )

    def __init__(
        self,
        book: Book,
        row: AttemptRow,
        exposure: Exposure,
        pico_usd: int,
        ran_out: Callable[[str], BudgetRanOut],
    ) -> None:
        self._book = book
        self._row = row
        self._exposure = exposure
        self._ran_out = ran_out
        self.pico_usd = pico_usd
        self._next_bytes: float = math.inf
        self._images: float = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._progress: Callable[[], tuple[Progress, float]] | None = None
        self._cut: Callable[[BudgetRanOut], None] | None = None
        self._keep: Callable[[int], None] | None = None

    def watch(
        self,
        progress: Callable[[], tuple[Progress, float]],
        cut: Callable[[BudgetRanOut], None],
        keep: Callable[[int], None],
    ) -> None:
        """From now on raise the lease as the attempt goes on.

        ``progress`` says how far it is, and how many bytes make a token there. ``cut`` ends the
        attempt from outside of it. ``keep`` writes down what is held now, where nothing else
        would tell a restart what the attempt may have cost.
        """
        if not self._exposure.grows:
            return
        self._progress, self._cut, self._keep = progress, cut, keep
        self._plan()

    def wants(self, text_bytes: int, images: int) -> bool:
        """Whether ``renew`` is due after so much output. Cheap: asked at each event."""
        return text_bytes >= self._next_bytes or images >= self._images

    async def renew(self) -> None:
        """Set the next slice aside. Raises BudgetRanOut: no more is to be had, or was left."""
        seen, bytes_per_token = self._measured()
        tokens = _tokens(seen.text_bytes, bytes_per_token)
        exposure = self._exposure
        wanted = exposure.wanted(tokens, seen.images, seen.billed_us)
        if wanted > self.pico_usd:
            short = await self._book.renew(self._row.attempt_id, wanted)
            if short is None:
                self.pico_usd = wanted
                if self._keep is not None and self._open_ended:
                    self._keep(wanted)
            elif exposure.at(tokens, seen.images, seen.billed_us) >= self.pico_usd:
                self._stop_watching()  # what it ends must not be ended twice
                raise self._ran_out(short)
        self._plan()

    def settle(self) -> None:
        """The attempt is over and its row is whole: give back, book."""
        self._stop()
        known = self._row.cost_status != "unknown"
        self._book.settle(self._row.attempt_id, counted_pico_usd(self._row), known=known)

    def release(self) -> None:
        """There was no attempt after all."""
        self._stop()
        self._book.settle(self._row.attempt_id, 0, known=True)

    @property
    def bills_waiting(self) -> bool:
        """Whether seconds of a queue or a boot are paid for as well."""
        return self._exposure.bills_waiting

    @property
    def _open_ended(self) -> bool:
        return bool(self._exposure.per_token or self._exposure.per_image)

    def _measured(self) -> tuple[Progress, float]:
        assert self._progress is not None
        return self._progress()

    def _plan(self) -> None:
        """When to look again: once half of what is ahead of the attempt is used up."""
        seen, bytes_per_token = self._measured()
        exposure = self._exposure
        used = exposure.at(_tokens(seen.text_bytes, bytes_per_token), seen.images, seen.billed_us)
        half = max(0, self.pico_usd - used) // 2
        if exposure.per_token:
            tokens = max(1, half // exposure.per_token)
            self._next_bytes = seen.text_bytes + tokens * bytes_per_token * _BYTES_SHARE
        if exposure.per_image:
            self._images = seen.images + max(1, half // exposure.per_image)
        if exposure.per_second and (
            not exposure.is_time_covered(self.pico_usd) or self._open_ended
        ):
            seconds = max(_SOONEST_SECONDS, min(_LATEST_SECONDS, half / exposure.per_second))
            self._stop_timer()
            self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew_by_clock())

    async def _renew_by_clock(self) -> None:
        try:
            await self.renew()
        except BudgetRanOut as failure:
            if self._cut is not None:
                self._cut(failure)
        finally:
            self._renewing = None

    def _stop_watching(self) -> None:
        self._next_bytes = self._images = math.inf
        self._stop_timer()

    def _stop(self) -> None:
        self._stop_watching()
        if self._renewing is not None:
            self._renewing.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _tokens(text_bytes: int, bytes_per_token: float) -> int:
    return math.ceil(text_bytes / max(1.0, bytes_per_token * _BYTES_SHARE))
