"""The whole comparison: candidates over the traffic, the answer in a sentence, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.accounting.prices import PriceBook
from gateway.comparison import seconds
from gateway.comparison.ask import Ask
from gateway.comparison.break_even import break_even, per_use
from gateway.comparison.candidates import Candidate, candidates
from gateway.comparison.capacity import Sizes, fits
from gateway.comparison.evaluate import Outcome, evaluate
from gateway.comparison.seconds import Law, Timing
from gateway.comparison.sentence import cheapest_of, frontier_of, sentence
from gateway.comparison.views import mean_of, money, outcome_json, traffic_json
from gateway.estimates.hardware import Hardware
from gateway.estimates.tables import Shape, find, shapes
from gateway.settings import Settings
from gateway.warmth.arrivals import Traffic


def compare(
    settings: Settings,
    book: PriceBook,
    ask: Ask,
    traffic: Traffic,
    history: Traffic,
    now_us: int,
) -> dict[str, Any]:
    """Every candidate for ``ask.model`` over ``traffic``.

    ``history`` is what the ledger measured of the same deployments: durations and boots come from
    it; without a trace or a made-up day it is the traffic itself. Raises BadQuery.
    """
    found = candidates(settings, book, ask, history.measured, now_us)
    laws = seconds.measured_laws(history)
    shape = ask.shape or _shape(settings, found)
    places = {c.name: c.hardware for c in found if c.kind == "deployment"}
    if traffic is not history:
        laws |= seconds.measured_laws(traffic)
        places |= {name: ask.measured_on for name in traffic.sources}
    references = {
        name: (law, hardware)
        for name, law in sorted(laws.items(), key=lambda pair: -pair[1].requests)
        if (hardware := places.get(name)) is not None
    }
    sizes = _sizes(traffic)
    outcomes = []
    for candidate in found:
        timing = _timing(candidate, traffic, history, laws, references, shape)
        seen = history.measured.get(candidate.name)
        outcome = evaluate(candidate, traffic, timing, seen, shape, sizes)
        if timing is None and not _has_room(candidate, shape):
            outcome.unknown.insert(0, "whether it fits: not at the bytes of a parameter assumed")
        outcomes.append(outcome)
    outcomes.sort(key=lambda o: (o.total_usd is None, o.total_usd or 0, o.candidate.name))
    by_use = per_use(outcomes, traffic)
    cheapest = cheapest_of(outcomes, ask.max_wait_p95_seconds) if traffic.requests else None
    frontier = frontier_of(outcomes)
    return {
        "model": ask.model,
        "sentence": sentence(outcomes, cheapest, traffic, ask.max_wait_p95_seconds),
        "cheapest": None if cheapest is None else cheapest.candidate.name,
        "max_wait_p95_seconds": ask.max_wait_p95_seconds,
        "traffic": traffic_json(traffic),
        "candidates": [
            {
                **outcome_json(outcome, traffic),
                "within_limit": _within(outcome, ask.max_wait_p95_seconds),
                "on_frontier": outcome in frontier,
                "break_even": money(break_even(outcome, by_use, traffic, shape, sizes)),
            }
            for outcome in outcomes
        ],
        "assumptions": _assumptions(ask, shape, found),
    }


def _timing(
    candidate: Candidate,
    traffic: Traffic,
    history: Traffic,
    laws: Mapping[str, Law],
    references: Mapping[str, tuple[Law, Hardware]],
    shape: Shape | None,
) -> Timing | None:
    """How long requests take there, by the best that is known; None: nothing is."""
    own = laws.get(candidate.name) if candidate.kind == "deployment" else None
    if own is not None:
        if traffic is history:
            return seconds.at_deployment(traffic, candidate.name, own)
        basis = f"from {own.requests:,} requests measured here"
        return seconds.by_law(traffic, own, basis)
    if candidate.hardware is None or not _has_room(candidate, shape):
        return None
    for name, (law, hardware) in references.items():
        if hardware == candidate.hardware:
            basis = f"measured at {name} on the same card; elsewhere an estimate"
            return seconds.from_reference(traffic, name, law, law, basis)
    sizes = _sizes(traffic)
    for name, (law, hardware) in references.items():
        there = seconds.scaled(law, hardware, candidate.hardware, shape, sizes)
        basis = f"scaled from {name} on {hardware} by what the cards can do"
        return seconds.from_reference(traffic, name, law, there, basis)
    return None if shape is None else seconds.by_roofline(traffic, shape, candidate.hardware)


def _has_room(candidate: Candidate, shape: Shape | None) -> bool:
    """False where the model is known not to fit on the card."""
    return shape is None or candidate.hardware is None or fits(shape, candidate.hardware)


def _sizes(traffic: Traffic) -> Sizes | None:
    given, made = mean_of(traffic, "input_tokens"), mean_of(traffic, "output_tokens")
    return None if given is None or made is None else Sizes(given, made)


def _shape(settings: Settings, found: list[Candidate]) -> Shape | None:
    """The model's shape, where a deployment calls it by a name that is known."""
    for candidate in found:
        if candidate.kind == "deployment":
            name = settings.deployments[candidate.name].model.rpartition("/")[2]
            known = find(shapes(), name)
            if known is not None:
                return known
    return None


def _within(outcome: Outcome, limit: float | None) -> bool | None:
    if limit is None or outcome.waits.p95 is None:
        return None
    return outcome.waits.p95 <= limit


def _assumptions(ask: Ask, shape: Shape | None, found: list[Candidate]) -> list[str]:
    said = [
        "One replica serves all of the traffic; requests that run together do not slow each other.",
        "It goes off when nothing ran for its keep-alive time, and boots for the next request.",
        "A request counts when it succeeded; what failed is left out.",
    ]
    if shape is not None:
        said.append(f"Where nothing was measured, the model is {shape.name} ({shape.source}).")
    for fact in {c.fact.name: c.fact for c in found if c.fact and c.has_replica}.values():
        said.append(f"Known of {fact.name}: {fact.source}; read {fact.checked_on}.")
    own = ask.own_gpu
    if own is not None:
        said.append(
            f"The own card costs ${own.capex_usd} over {own.life_years} years, "
            f"${own.ops_usd_month} a month to run, and draws {own.watts} W times {own.pue} "
            f"at ${own.usd_per_kwh} a kWh all the time."
        )
    return said
