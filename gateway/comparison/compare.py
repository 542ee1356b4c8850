"""The whole comparison: candidates over the traffic, the answer in a sentence, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from gateway.accounting.prices import PriceBook
from gateway.clock import rfc3339
from gateway.comparison import seconds
from gateway.comparison.ask import Ask
from gateway.comparison.break_even import break_even, per_use
from gateway.comparison.candidates import Candidate, candidates
from gateway.comparison.capacity import Sizes, fits
from gateway.comparison.evaluate import Outcome, evaluate
from gateway.comparison.seconds import Law, Timing
from gateway.comparison.sentence import cheapest_of, frontier_of, sentence
from gateway.estimates.hardware import Hardware
from gateway.estimates.tables import Shape, find, shapes
from gateway.settings import Settings
from gateway.warmth.arrivals import UNKNOWN, Traffic

_PICO = Decimal("1E-12")


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
        "traffic": _traffic_json(traffic),
        "candidates": [
            {
                **_outcome_json(outcome, traffic),
                "within_limit": _within(outcome, ask.max_wait_p95_seconds),
                "on_frontier": outcome in frontier,
                "break_even": _money(break_even(outcome, by_use, traffic, shape, sizes)),
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
    given, made = _mean(traffic, "input_tokens"), _mean(traffic, "output_tokens")
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


def _mean(traffic: Traffic, name: str) -> float | None:
    total = count = 0
    for stretch in traffic.stretches:
        column = getattr(stretch.arrivals, name)
        if UNKNOWN in column:
            return None
        total, count = total + sum(column), count + len(column)
    return total / count if count else None


def _traffic_json(traffic: Traffic) -> dict[str, Any]:
    days = traffic.days
    return {
        "origin": traffic.origin,
        "start_time": rfc3339(traffic.start_at_us),
        "end_time": rfc3339(traffic.end_at_us),
        "days": _short(days),
        "requests": traffic.requests,
        "requests_per_day": _short(traffic.requests / days) if days else None,
        "mean_input_tokens": _short(_mean(traffic, "input_tokens")),
        "mean_output_tokens": _short(_mean(traffic, "output_tokens")),
        "left_out": traffic.left_out,
        "sample": {
            "requests_read": traffic.requests_read,
            "stretches_read": len(traffic.stretches),
            "stretches": traffic.stretches_in_range,
        }
        if traffic.is_sample
        else None,
        "notes": traffic.notes,
    }


def _outcome_json(outcome: Outcome, traffic: Traffic) -> dict[str, Any]:
    candidate, timing, spent, waits = (
        outcome.candidate,
        outcome.timing,
        outcome.spent,
        outcome.waits,
    )
    row, boot, keep = candidate.row, candidate.boot, candidate.keep_alive
    replica = candidate.has_replica
    total = outcome.total_usd
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "provider": candidate.provider,
        "hardware": None if candidate.hardware is None else str(candidate.hardware),
        "price_id": None if row is None else row.id,
        "price_source": None if row is None else row.source,
        "bills": [] if row is None or row.usd_per_second is None else sorted(row.bills),
        "status": outcome.status,
        "total_usd": _usd(total),
        "known_usd": _usd(outcome.known_usd),
        "range_usd": None
        if outcome.low_usd is None
        else {"low": _usd(outcome.low_usd), "high": _usd(outcome.high_usd)},
        "usd_per_request": _usd(
            total / traffic.requests if total is not None and traffic.requests else None
        ),
        **{name: _usd(usd) for name, usd in outcome.parts.items()},
        "sampling_error": _short(outcome.sampling_error),
        "execute": None
        if timing is None
        else {
            "status": timing.status,
            "basis": timing.basis,
            "mean_seconds": _mean_seconds(timing),
            "low_factor": _short(timing.low),
            "high_factor": _short(timing.high),
        },
        "waits": {
            "p50_seconds": _short(waits.p50),
            "p95_seconds": _short(waits.p95),
            "p99_seconds": _short(waits.p99),
            "mean_seconds": _short(waits.mean),
            "cold_rate": _short(waits.cold_rate),
            "boots": waits.boots,
            "basis": waits.basis,
        },
        "boot": None
        if boot is None or not replica
        else {
            "seconds": _short(boot.seconds),
            "low": _short(boot.low),
            "high": _short(boot.high),
            "status": boot.status,
            "basis": boot.basis,
        },
        "keep_alive": {"seconds": keep.seconds, "basis": keep.basis} if replica else None,
        "places": candidate.places,
        "replicas": outcome.replicas,
        "utilisation": _short(spent.busy_us / spent.replica_us)
        if spent is not None and spent.replica_us
        else None,
        "sensitivity": {
            "boot": [_money(told) for told in outcome.boot_sensitivity],
            "one_at_a_time": _money(outcome.one_at_a_time),
        },
        "unknown": outcome.unknown,
        "notes": outcome.notes,
    }


def _mean_seconds(timing: Timing) -> float | None:
    count = sum(len(column) for column in timing.columns)
    return _short(sum(sum(column) for column in timing.columns) / 1e6 / count) if count else None


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


def _money(found: Any) -> Any:
    """Dollars as text, seconds and shares without digits that mean nothing."""
    if isinstance(found, dict):
        return {name: _money(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_money(value) for value in found]
    if isinstance(found, Decimal):
        return _usd(found)
    return _short(found) if isinstance(found, float) else found


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def _usd(amount: Decimal | None) -> str | None:
    if amount is None:
        return None
    text = format(amount.quantize(_PICO, rounding=ROUND_HALF_EVEN), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
