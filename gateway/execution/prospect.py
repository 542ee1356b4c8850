"""What is expected of one deployment, kept beside it: what no instant and no request changes.

A decision asks each deployment what to expect of it. What an answer has taught and what a price
says holds until the next answer or the next price, so it is worked out then and not in every
decision. Nothing is rounded for it: the figures are those of the whole sum, to the last bit.
"""

from __future__ import annotations

from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceRow
from gateway.accounting.usual import Usual
from gateway.routing import Candidate
from gateway.warmth.outlook import Outlook

_FIRST_TOKENS = 256.0  # of output, where a deployment has answered nothing yet
_PICO = 1e12


class Prospect:
    """Makes candidates of one deployment, live or simulated.

    ``own_window_seconds``: how long its provider keeps it up without work; None: nobody knows.
    ``can_boot``: it can be booted without work, and says when it is up.
    """

    __slots__ = (
        "_answer_usd",
        "_answers",
        "_bills_boot",
        "_boot_second_usd",
        "_can_boot",
        "_estimator",
        "_first_output_seconds",
        "_idle_second_usd",
        "_input_token_usd",
        "_name",
        "_output_token_usd",
        "_output_tokens",
        "_owns",
        "_paid_usd",
        "_provider",
        "_row",
        "_sells_tokens",
        "_usual",
        "_window_seconds",
        "_work_usd",
    )

    def __init__(
        self,
        name: str,
        provider: str,
        usual: Usual,
        estimator: TokenEstimator,
        *,
        own_window_seconds: float | None,
        can_boot: bool,
    ) -> None:
        self._name, self._provider = name, provider
        self._usual, self._estimator = usual, estimator
        self._can_boot = can_boot
        self._window_seconds = own_window_seconds or 0.0
        self._renew(None)

    def candidate(
        self,
        outlook: Outlook,
        row: PriceRow | None,
        input_bytes: int = 0,
        max_output_tokens: int | None = None,
        queue_seconds: float = 0.0,
        closed: str | None = None,
    ) -> Candidate:
        """What is to be expected, as warm as it is, at the price that is in force.

        The first call after an answer or a new price takes a microsecond longer.
        """
        if row is not self._row or self._usual.answers != self._answers:
            self._renew(row)
        pico_usd, replica_pico_usd = None, 0
        if row is not None:
            usd = self._answer_usd
            if self._sells_tokens:
                tokens = self._output_tokens
                if max_output_tokens is not None and tokens > max_output_tokens:
                    tokens = max_output_tokens
                usd += self._estimator.estimate(input_bytes) * self._input_token_usd
                usd += tokens * self._output_token_usd
            if not self._owns:
                pico_usd = round((usd + self._work_usd) * _PICO)
            else:
                state, p_cold = outlook.state, 1.0 - outlook.p_warm
                boot_usd = p_cold * outlook.boot_seconds * self._boot_second_usd
                if state == "warm":
                    # Its work is paid for anyway, and that it may be gone does not count.
                    replica_usd = self._paid_usd - boot_usd
                elif state == "booting":
                    replica_usd, boot_usd = self._paid_usd, 0.0  # that boot is another's
                else:
                    # It boots for this call, and idles for a while afterwards.
                    replica_usd = p_cold * self._window_seconds * self._idle_second_usd
                pico_usd = round((usd + (boot_usd + self._work_usd)) * _PICO)
                replica_pico_usd = round(replica_usd * _PICO)
        return Candidate(
            self._name,
            self._provider,
            outlook,
            pico_usd,
            self._first_output_seconds,
            queue_seconds,
            closed,
            self._can_boot,
            self._bills_boot,
            self._owns,
            replica_pico_usd,
        )

    def _renew(self, row: PriceRow | None) -> None:
        """Work out anew what follows from the price and from the answers so far."""
        usual = self._usual
        self._row, self._answers = row, usual.answers
        self._first_output_seconds = usual.first_output_seconds
        self._output_tokens = _FIRST_TOKENS if usual.output_tokens is None else usual.output_tokens
        self._bills_boot, self._owns = True, False
        if row is None:
            return
        rough = row.rough
        self._answer_usd = rough.answer
        self._input_token_usd, self._output_token_usd = rough.input_token, rough.output_token
        self._sells_tokens = rough.input_token > 0 or rough.output_token > 0
        self._work_usd = usual.work_seconds * rough.execute_second
        self._bills_boot, self._owns = rough.boot_second > 0, rough.owns
        self._boot_second_usd, self._idle_second_usd = rough.boot_second, rough.idle_second
        self._paid_usd = -self._work_usd if rough.idle_second > 0 else 0.0
