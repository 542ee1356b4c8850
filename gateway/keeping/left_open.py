"""A starting gateway books what an earlier one's stays have cost that it had no time to book.

What goes on is in the journal before it costs anything (``ledger.opened``), and so is what ended
it, an attempt for example. A stay that nothing ended went on when the gateway died; how long its
provider kept the machine after that depends on how it was held:

* by the provider's scale: until somebody takes that back, which a starting gateway does. It is
  booked up to now, and goes on until that has succeeded. So is one that was held while it worked,
  from when that was over.
* by asking for a boot again and again: for the provider's own window after the last time. The
  gateway asked once in ``PING_SHARE`` of a window, so at its last sign of life it had asked half of
  that before, on average, and no more than a window is left.
* by the gateway's own process, as a local engine: until that ended.

Where the deployment is not configured any more nobody knows, and it is at most until now.

A death on the way loses nothing and doubles nothing: what goes on is written before the end of what
a request had ended, and each charge says up to where all is booked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from gateway.accounting.hours import hours_of
from gateway.accounting.lines import Line, line_usd
from gateway.execution.charging import Charging
from gateway.keeping.booking import row_at
from gateway.keeping.keeper import PING_SHARE
from gateway.keeping.slices import slice_line
from gateway.keeping.stays import Slice, sliced
from gateway.ledger.reading.opened import Going, Opened
from gateway.ledger.rows import OpenCharge
from gateway.ledger.stay_rules import GOES_ON, UNUSED, USED
from gateway.registry import Target
from providers.contract import EndsWithGateway, Scalable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    """When a stay has likely ended, when at the latest, and whether it was of use."""

    at_us: int
    most_us: int
    rule: str


@dataclass(frozen=True, slots=True)
class LeftHeld:
    """A stay that goes on: it began to cost at ``since_us`` and is told up to ``told_us``."""

    since_us: int
    told_us: int


def book_left_open(
    opened: Opened, targets: Mapping[str, Target], charging: Charging, last_seen_us: int
) -> dict[str, LeftHeld]:
    """Book each stay that was open, and standing machines of deployments that are no more.

    ``last_seen_us``: the earlier gateway's last sign of life. Standing machines of deployments that
    still are go on. So do the stays that are returned, by deployment: their providers hold them
    until they are told otherwise.
    """
    now_us = charging.clock.wall_us()
    held = {}
    for (_, name), used in opened.used.items():
        target = targets.get(name)
        _book_stay(charging, target, used, _end_of(target, used, last_seen_us, now_us))
    for (kind, name), going in opened.going.items():
        target = targets.get(name)
        if target is not None and _is_held(target, going):
            held[name] = _book_held(charging, target, going, last_seen_us, now_us)
            continue
        if kind == "keep_warm":
            if going.row.works:  # the attempt that was at work is booked up to the death
                seen_us = max(going.since_us, min(last_seen_us, now_us))
                charging.costs_from(going.row, seen_us)
                going = Going(replace(going.row, since_us=seen_us), seen_us, seen_us)
            _book_stay(charging, target, going, _end_of(target, going, last_seen_us, now_us))
        elif target is None or not target.bills("standing"):
            _book_standing(charging, going, min(last_seen_us, now_us))
        else:
            continue
        charging.settled(going.row)
    return held


def _is_held(target: Target, going: Going) -> bool:
    """Whether its provider holds it until it is told otherwise, and was not told so."""
    deployment, row = target.deployment, going.row
    if row.kind != "keep_warm" or row.until_us is not None:
        return False
    return isinstance(deployment, Scalable) and not isinstance(deployment, EndsWithGateway)


def _book_held(
    charging: Charging, target: Target, going: Going, last_seen_us: int, now_us: int
) -> LeftHeld:
    began_us, since_us, used_us = going.began_us, going.since_us, going.used_at_us
    if going.row.works or used_us is not None:
        # The work went on as long as its gateway, as far as anybody knows.
        window_us = round((target.own_window_seconds or 0.0) * 1e6)
        worked_us = max(used_us or began_us, min(last_seen_us, now_us))
        began_us = since_us = worked_us + window_us
    charging.goes_on(target, "keep_warm", began_us)
    if used_us is not None:
        _book_stay(charging, target, going, _End(used_us, used_us, USED))
    going = Going(going.row, began_us, since_us)
    if since_us < now_us:
        _book_stay(charging, target, going, _End(now_us, now_us, GOES_ON))
    return LeftHeld(began_us, max(since_us, now_us))


def _end_of(target: Target | None, going: Going, last_seen_us: int, now_us: int) -> _End:
    until_us, used_us = going.row.until_us, going.used_at_us
    if until_us is not None and (used_us is None or used_us > until_us):
        return _End(until_us, until_us, UNUSED)
    if used_us is not None:
        return _End(used_us, used_us, USED)
    seen_us = min(last_seen_us, now_us)
    if target is None:
        return _End(seen_us, now_us, UNUSED)
    if isinstance(target.deployment, EndsWithGateway):
        ended = target.deployment.ended_by(datetime.fromtimestamp(now_us / 1e6, UTC))
        ended_us = now_us if ended is None else round(ended.timestamp() * 1e6)
        return _End(seen_us, max(seen_us, ended_us), UNUSED)
    window_us = round((target.own_window_seconds or 0.0) * 1e6)
    left_us = round(window_us * (1 - PING_SHARE / 2))
    return _End(seen_us + left_us, seen_us + window_us, UNUSED)


def _book_stay(charging: Charging, target: Target | None, going: Going, end: _End) -> None:
    row, began_us, since_us = going.row, going.began_us, going.since_us
    slices = sliced(began_us, since_us, end.at_us, end.rule)
    if not slices and end.most_us > since_us:
        slices = [Slice(since_us, since_us, end.rule, began_us)]
    for piece in slices:
        most_us = end.most_us if piece is slices[-1] else piece.end_us
        line = _line(target, row, piece, most_us)
        period_us = (piece.begin_us, piece.end_us)
        charging.book_kept((row.deployment, row.provider), line, period_us, piece.rule)
    if slices:
        logger.warning(
            "%s: a stay that an earlier gateway left open is booked: %.0f s",
            row.deployment,
            (slices[-1].end_us - since_us) / 1e6,
        )


def _book_standing(charging: Charging, going: Going, until_us: int) -> None:
    row = going.row
    for period_us in hours_of(going.since_us, until_us):
        line = _at_its_price(row, "standing_seconds", period_us[0], *period_us[1:] * 2)
        charging.book_standing((row.deployment, row.provider), line, period_us)


def _line(target: Target | None, row: OpenCharge, piece: Slice, most_us: int) -> Line:
    """Under the price that held when it began, as it was configured then."""
    price = None if target is None else row_at(target, piece.begin_us)
    if price is not None and price.id == row.price_id:
        return slice_line(price, piece.since_us, piece.begin_us, piece.end_us, most_us)
    return _at_its_price(row, "idle_seconds", piece.begin_us, piece.end_us, most_us)


def _at_its_price(row: OpenCharge, kind: str, begin_us: int, end_us: int, most_us: int) -> Line:
    quantity = Decimal(end_us - begin_us) / 1_000_000
    if row.unit_price_usd is None:
        return Line(kind, quantity, None, None, None, "unknown", Decimal(0), None)
    rate, most = Decimal(row.unit_price_usd), Decimal(most_us - begin_us) / 1_000_000
    usd, most_usd = line_usd(quantity, rate), line_usd(most, rate)
    return Line(kind, quantity, rate, usd, row.price_id, "estimated", Decimal(0), most_usd)
