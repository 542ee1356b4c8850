"""Trains a table and holds it against a fixed window on requests that it was not shown.

The training time is split: a first table is made from its first part and tried on the rest. Only if
it has fewer cold starts at the cost of the fixed window, and its interval does not reach far above
none fewer, is the table of the whole training time trusted.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from gateway.simulation.families import Scene
from gateway.simulation.held import compare_policies
from gateway.simulation.learning import learn
from gateway.simulation.streams import Stream
from gateway.warmth.policies.learned import Table
from gateway.warmth.windows import Stakes

_SHOWN = 0.6
_LEAST_GAIN = -0.01
_MOST_LOSS = 0.02


def learn_and_hold(scene: Scene, stakes: Stakes, start_at_us: int, seed: int = 1) -> Table:
    """The table of what came before ``scene`` counts. Raises LearnMissing."""
    until = scene.count_from_us
    table = learn(scene.streams, until, seed)
    if not table.rates:
        return replace(table, trusted=False)
    shown_until = start_at_us + round((until - start_at_us) * _SHOWN)
    cut = []
    for stream in scene.streams:
        count = bisect_left(stream.at_us, until)
        if count:
            part = Stream(stream.name)
            part.at_us.extend(stream.at_us[:count])
            part.execute_us.extend(stream.execute_us[:count])
            cut.append(part)
    tried = replace(
        scene,
        streams=cut,
        count_from_us=shown_until,
        end_at_us=until,
        table=learn(cut, shown_until, seed),
    )
    (held,) = compare_policies(tried, stakes, ["learned"], seed).held
    good = (
        held.change is not None
        and held.change <= _LEAST_GAIN
        and (held.interval is None or held.interval[1] <= _MOST_LOSS)
    )
    return replace(table, trusted=good)
