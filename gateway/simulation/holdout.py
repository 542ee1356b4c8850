"""Trains a table and holds it against a fixed window on requests that it was not shown.

The training time is split: a first table is made from its first part and tried on the rest, with
its plain windows by the time of day, with its rates by context, and with both. Of those that have
fewer cold starts at the cost of the fixed window, and whose interval does not reach far above none
fewer, the best is what is trusted of the table of the whole training time. Windows by the time of
day only move waits from one deployment to another, and so have to be surer of it: they are tried
where the first part has seen a day or more, and have to gain at several deployments.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from gateway.simulation.families import Scene
from gateway.simulation.held import Held, compare_policies
from gateway.simulation.learning import learn
from gateway.simulation.streams import Stream
from gateway.warmth.policies.learned import Table
from gateway.warmth.windows import Stakes

_SHOWN = 0.6
_LEAST_GAIN, _MOST_LOSS = -0.01, 0.02
_LEAST_GAIN_BY_HOURS, _MOST_LOSS_BY_HOURS = -0.03, 0.0
_DAY_US = 86_400_000_000


def learn_and_hold(scene: Scene, stakes: Stakes, start_at_us: int, seed: int = 1) -> Table:
    """The table of what came before ``scene`` counts. Raises LearnMissing."""
    until = scene.count_from_us
    table = learn(scene.streams, until, seed)
    if not table.rates:
        return replace(table, trusted=False)
    shown_until = start_at_us + round((until - start_at_us) * _SHOWN)
    cut = _until(scene, until)
    tried = replace(scene, streams=cut, count_from_us=shown_until, end_at_us=until)
    shown = learn(cut, shown_until, seed)

    def held(rates: bool, hours: bool) -> Held:
        given = replace(tried, table=replace(shown, trusted=rates, hours_trusted=hours))
        return compare_policies(given, stakes, ["learned"], seed).held[0]

    gains: dict[tuple[bool, bool], float] = {}
    by_rates = held(True, False)
    if by_rates.change is not None and _is_good(by_rates, _LEAST_GAIN, _MOST_LOSS):
        gains[True, False] = by_rates.change
    if shown_until - start_at_us >= _DAY_US:
        by_hours = held(False, True)
        sure = by_hours.interval is not None
        if sure and _is_good(by_hours, _LEAST_GAIN_BY_HOURS, _MOST_LOSS_BY_HOURS):
            for way, of in (((False, True), by_hours), ((True, True), held(True, True))):
                gains[way] = of.change or 0.0
    rates, hours = min(gains, key=lambda way: gains[way], default=(False, False))
    return replace(table, trusted=rates, hours_trusted=hours)


def _until(scene: Scene, until_us: int) -> list[Stream]:
    """The streams without what comes later."""
    cut = []
    for stream in scene.streams:
        count = bisect_left(stream.at_us, until_us)
        if count:
            part = Stream(stream.name)
            part.at_us.extend(stream.at_us[:count])
            part.execute_us.extend(stream.execute_us[:count])
            cut.append(part)
    return cut


def _is_good(held: Held, least_gain: float, most_loss: float) -> bool:
    return (
        held.change is not None
        and held.change <= least_gain
        and (held.interval is None or held.interval[1] <= most_loss)
    )
