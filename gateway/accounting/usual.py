"""What a deployment's answers usually need: for expecting a cost before it is known. Pure."""

from __future__ import annotations

from array import array

_SHARE = 1 / 16  # of each new answer: settled after a few dozen, and following a change
_FIRST_SECONDS = 1.0  # of work, where a deployment has answered nothing yet
_KEPT = 64  # of first outputs, for their quantiles
_FEWEST = 8


class Usual:
    """Moving averages over answers that succeeded; waits for boots are no part of them."""

    __slots__ = (
        "_pieces",
        "_whole",
        "answers",
        "execute_seconds",
        "first_output_seconds",
        "output_tokens",
    )

    def __init__(self) -> None:
        self.answers = 0  # that were learnt from
        self.output_tokens: float | None = None
        self.execute_seconds: float | None = None
        self.first_output_seconds: float | None = None
        self._pieces: _Latest | None = None
        self._whole: _Latest | None = None

    def observe(
        self,
        *,
        output_tokens: int | None,
        execute_seconds: float | None,
        first_output_seconds: float | None,
        in_pieces: bool = True,
    ) -> None:
        """Learn from one answer; ``first_output_seconds`` only of one that waited for no boot.

        ``in_pieces``: it could show something before all of it was made.
        """
        self.answers += 1
        self.output_tokens = _moved(self.output_tokens, output_tokens)
        self.execute_seconds = _moved(self.execute_seconds, execute_seconds)
        self.first_output_seconds = _moved(self.first_output_seconds, first_output_seconds)
        if first_output_seconds is None:
            return
        if in_pieces:
            if self._pieces is None:
                self._pieces = _Latest()
            self._pieces.add(first_output_seconds)
        else:
            if self._whole is None:
                self._whole = _Latest()
            self._whole.add(first_output_seconds)

    def quiet_seconds(self, share: float, *, in_pieces: bool = True) -> float | None:
        """So many of the latest answers had shown something by then; None: too few were seen."""
        known = self._pieces if in_pieces else self._whole
        return None if known is None else known.quantile(share)

    @property
    def work_seconds(self) -> float:
        """Work on an answer, usually."""
        return _FIRST_SECONDS if self.execute_seconds is None else self.execute_seconds


class _Latest:
    """The latest figures, as a ring."""

    __slots__ = ("_count", "_values")

    def __init__(self) -> None:
        self._values = array("d")
        self._count = 0

    def add(self, value: float) -> None:
        if len(self._values) < _KEPT:
            self._values.append(value)
        else:
            self._values[self._count % _KEPT] = value
        self._count += 1

    def quantile(self, share: float) -> float | None:
        known = len(self._values)
        if known < _FEWEST:
            return None
        return sorted(self._values)[min(known - 1, int(share * known))]


def _moved(known: float | None, seen: float | None) -> float | None:
    if seen is None:
        return known
    return seen if known is None else known + (seen - known) * _SHARE
