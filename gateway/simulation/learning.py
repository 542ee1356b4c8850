"""Trains the table of ``policies.learned``: a hazard of requests, boosted trees, by context.

For every gap of every deployment, and every span of time in it, the model is told what was known
when the gap began, how long the span was survived, and whether a request ended it there; it learns
the rate of requests (Poisson loss, weighted by time). Its rates are then averaged over the gaps of
each context of each deployment: a table of plain numbers, for which nothing has to be imported.
The gaps of each deployment by the part of the day in which they begin are counted beside it.

Needs the extra ``learn`` (scikit-learn). Seeded; the same requests give the same table.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.simulation.simulate import Requests
from gateway.warmth.gaps import BINS, PRIOR, GapHistogram, bin_of
from gateway.warmth.policies.learned import (
    PARTS_OF_DAY,
    SPANS_SECONDS,
    Table,
    context_of,
    part_of,
    rates_of,
)

FEWEST_GAPS = 500
"""With fewer there is nothing to learn; the table is left empty."""

_MOST_GAPS = 30_000
_LOOK_BACK_US = (120_000_000, 600_000_000, 3_600_000_000, 86_400_000_000)
_CONTEXT_US = _LOOK_BACK_US[1]
_FLEET_US = 600_000_000
_HOURS_PRIOR_GAPS = 10.0
"""So many gaps of the same deployment at any time weigh as much as those of one part of the day;
of them in turn, so many of nobody in particular."""


class LearnMissing(RuntimeError):
    """The extra ``learn`` is not installed: pip install 'serverless-inference-gateway[learn]'."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap with what was known when it began."""

    deployment: str
    context: str
    part: int
    known: tuple[float, ...]
    seconds: float
    ended: bool


def gaps_of(streams: Sequence[Requests], until_us: int) -> list[Gap]:
    """All gaps that began before an instant; of the last of each, only that it lasted so long."""
    everything = sorted(at for stream in streams for at in stream.at_us if at < until_us)
    found: list[Gap] = []
    for stream in streams:
        at_us, execute_us = stream.at_us, stream.execute_us
        count = bisect_left(at_us, until_us)
        last = [math.log(86_400.0)] * 3
        last_gap, mean, seen = math.inf, 0.0, 0
        busy_us = 0
        for number in range(count):
            busy_us = max(busy_us, at_us[number] + execute_us[number])
            following = at_us[number + 1] if number + 1 < len(at_us) else until_us
            ended = following < until_us
            end_us = min(following, until_us)
            if end_us <= busy_us:
                continue
            seconds = (end_us - busy_us) / 1e6
            counts = [number + 1 - bisect_left(at_us, busy_us - back) for back in _LOOK_BACK_US]
            fleet = bisect_right(everything, busy_us) - bisect_left(everything, busy_us - _FLEET_US)
            recent = number + 1 - bisect_left(at_us, busy_us - _CONTEXT_US)
            minute = busy_us / 60e6
            known = (
                *last,
                *(math.log1p(value) for value in counts),
                math.log1p(fleet),
                mean if seen else math.log(3600.0),
                minute % 60,
                minute / 60 % 24,
                minute // 1440 % 7,
            )
            context = context_of(last_gap, recent)
            found.append(Gap(stream.name, context, part_of(busy_us), known, seconds, ended))
            last_gap = seconds
            length = math.log1p(seconds)
            last = [length, *last[:2]]
            seen += 1
            mean += (length - mean) / min(seen, 100)
    return found


def learn(streams: Sequence[Requests], until_us: int, seed: int = 1) -> Table:
    """The table of what came before an instant. Raises LearnMissing."""
    gaps = gaps_of(streams, until_us)
    if len(gaps) < FEWEST_GAPS:
        return Table()
    try:
        import numpy as np
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits  # comes with it
    except ImportError as error:
        raise LearnMissing(LearnMissing.__doc__) from error
    every = max(1, -(-len(gaps) // _MOST_GAPS))
    rows: list[tuple[float, ...]] = []
    targets: list[float] = []
    weights: list[float] = []
    for gap in gaps[::every]:
        for span in range(len(SPANS_SECONDS) - 1):
            begin, end = SPANS_SECONDS[span], SPANS_SECONDS[span + 1]
            here = min(gap.seconds, end) - begin
            if here <= 0:
                break
            happened = gap.ended and gap.seconds < end
            rows.append(_row(gap, span))
            targets.append(1 / here if happened else 0.0)
            weights.append(here)
    model = HistGradientBoostingRegressor(
        loss="poisson",
        max_iter=80,
        learning_rate=0.08,
        max_leaf_nodes=24,
        min_samples_leaf=200,
        l2_regularization=1.0,
        random_state=seed,
    )
    # A gap of microseconds has a rate without bound; nothing is decided within a second.
    capped = np.minimum(np.asarray(targets), 1.0)
    seconds = np.maximum(np.asarray(weights), 1.0)
    with threadpool_limits(1):  # threads that wait for each other on a busy machine take minutes
        model.fit(np.asarray(rows), capped, sample_weight=seconds)
        rates = _rates(model, gaps)
    return Table(rates, _prior(gaps), hours=hours_of(gaps))


def _row(gap: Gap, span: int) -> tuple[float, ...]:
    begin = SPANS_SECONDS[span]
    return (float(span), (gap.known[-3] + begin / 60) % 60, *gap.known)


def _rates(model: Any, gaps: Sequence[Gap]) -> dict[str, dict[str, list[float]]]:
    """The model's rates, averaged over the gaps of each context that reach each span."""
    import numpy as np

    members: dict[tuple[str, str], list[Gap]] = defaultdict(list)
    for gap in gaps:
        members[gap.deployment, gap.context].append(gap)
    found: dict[str, dict[str, list[float]]] = defaultdict(dict)
    spans = len(SPANS_SECONDS) - 1
    widths = np.diff(np.asarray(SPANS_SECONDS))
    for (deployment, context), own in members.items():
        own = own[-30:]
        rows = [_row(gap, span) for gap in own for span in range(spans)]
        rates = np.maximum(model.predict(np.asarray(rows)).reshape(len(own), spans), 1e-9)
        left = np.exp(-np.cumsum(rates * widths, axis=1))
        before = np.concatenate([np.ones((len(own), 1)), left[:, :-1]], axis=1)
        shares = left.mean(axis=0) / np.maximum(before.mean(axis=0), 1e-300)
        mean = -np.log(np.clip(shares, 1e-12, 1.0)) / widths
        found[deployment][context] = [float(rate) for rate in mean]
    return dict(found)


def hours_of(gaps: Sequence[Gap]) -> dict[str, list[list[float]]]:
    """Rates of each deployment by the part of the day in which a gap begins."""
    members: dict[str, list[Gap]] = defaultdict(list)
    for gap in gaps:
        if gap.ended:
            members[gap.deployment].append(gap)
    found: dict[str, list[list[float]]] = {}
    for deployment, own in members.items():
        at_any_time = GapHistogram(1.0)
        parts = [GapHistogram(1.0) for _ in range(PARTS_OF_DAY)]
        for gap in own:
            at_any_time.add(gap.seconds)
            parts[gap.part].add(gap.seconds)
        behind = at_any_time.masses(PRIOR, _HOURS_PRIOR_GAPS)
        found[deployment] = [
            rates_of(part.masses(behind, _HOURS_PRIOR_GAPS)) if part.seen else [] for part in parts
        ]
    return found


def _prior(gaps: Sequence[Gap]) -> list[float]:
    """The gaps of all deployments, each as much as another, and half of what is built in."""
    by_deployment: dict[str, list[int]] = defaultdict(list)
    for gap in gaps:
        by_deployment[gap.deployment].append(bin_of(gap.seconds) if gap.ended else BINS)
    masses = [mass / 2 for mass in PRIOR]
    for bins in by_deployment.values():
        for number in bins:
            masses[number] += 0.5 / len(bins) / len(by_deployment)
    return masses
