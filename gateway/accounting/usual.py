"""What a deployment's answers usually need: for expecting a cost before it is known. Pure."""

from __future__ import annotations

from gateway.accounting.prices import PriceRow

_SHARE = 1 / 16  # of each new answer: settled after a few dozen, and following a change
_FIRST_SECONDS = 1.0  # of work, where a deployment has answered nothing yet
_FIRST_TOKENS = 256
_PICO = 10**12


class Usual:
    """Moving averages over answers that succeeded; waits for boots are no part of them."""

    __slots__ = ("execute_seconds", "first_output_seconds", "output_tokens")

    def __init__(self) -> None:
        self.output_tokens: float | None = None
        self.execute_seconds: float | None = None
        self.first_output_seconds: float | None = None

    def observe(
        self,
        *,
        output_tokens: int | None,
        execute_seconds: float | None,
        first_output_seconds: float | None,
    ) -> None:
        """Learn from one answer; ``first_output_seconds`` only of one that waited for no boot."""
        self.output_tokens = _moved(self.output_tokens, output_tokens)
        self.execute_seconds = _moved(self.execute_seconds, execute_seconds)
        self.first_output_seconds = _moved(self.first_output_seconds, first_output_seconds)

    def expected_pico_usd(
        self,
        row: PriceRow | None,
        *,
        input_tokens: int,
        max_output_tokens: int | None,
        boot_seconds: float,
    ) -> int | None:
        """What an answer may be expected to cost, in pico-USD; None: nobody knows the price.

        ``boot_seconds``: those to be expected, weighed with their chance.
        """
        if row is None:
            return None
        tokens = _FIRST_TOKENS if self.output_tokens is None else self.output_tokens
        if max_output_tokens is not None:
            tokens = min(tokens, max_output_tokens)
        usd = float(row.usd_per_request or 0) + float(row.usd_per_image or 0)
        usd += input_tokens * float(row.usd_per_million_input_tokens or 0) / 1e6
        usd += tokens * float(row.usd_per_million_output_tokens or 0) / 1e6
        if row.usd_per_second is not None:
            seconds = boot_seconds if "boot" in row.bills else 0.0
            if "execute" in row.bills:
                known = self.execute_seconds
                seconds += _FIRST_SECONDS if known is None else known
            usd += seconds * float(row.usd_per_second)
        return round(usd * _PICO)


def _moved(known: float | None, seen: float | None) -> float | None:
    if seen is None:
        return known
    return seen if known is None else known + (seen - known) * _SHARE
