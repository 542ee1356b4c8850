from __future__ import annotations

from gateway.accounting.coldstart import classify
from gateway.accounting.timeline import Timeline
from providers.contract import (
    Booting,
    Delta,
    Event,
    Finished,
    Phases,
    Queued,
    Started,
)


def timeline(*events: tuple[Event, float], end: float, begun: float = 100.0) -> Timeline:
    folded = Timeline(begun)
    for event, at in events:
        folded.observe(event, begun + at)
    folded.end(begun + end)
    return folded


def close(value: float | None, expected: float) -> bool:
    return value is not None and abs(value - expected) < 1e-9


def test_all_phases() -> None:
    folded = timeline(
        (Queued(), 0.5),
        (Booting("phase_reported"), 1.5),
        (Started(), 4.0),
        (Delta("a"), 4.5),
        (Delta("b"), 5.0),
        (Finished(), 5.5),
        end=5.5,
    )
    assert close(folded.queue_seconds, 1.0)
    assert close(folded.boot_seconds, 2.5)
    assert close(folded.wait_seconds, 4.0)
    assert close(folded.first_output_seconds, 4.5)
    assert close(folded.execute_seconds, 1.5)
    assert close(folded.total_seconds, 5.5)


def test_what_nobody_said_stays_unknown() -> None:
    folded = timeline((Delta("a"), 0.5), (Finished(), 1.0), end=1.0)
    assert folded.queue_seconds is None
    assert folded.boot_seconds is None
    assert folded.wait_seconds is None
    assert close(folded.execute_seconds, 1.0)  # from dispatch, where nothing marks a begin
    assert classify(folded).verdict == "unknown"


def test_a_boot_that_never_ends_is_all_boot_and_no_work() -> None:
    folded = timeline((Booting("process_started", caused_boot=True), 0.1), end=3.1)
    assert close(folded.boot_seconds, 3.0)
    assert close(folded.execute_seconds, 0.0)
    assert folded.first_output_seconds is None
    cold = classify(folded)
    assert (cold.verdict, cold.evidence, cold.caused_boot) == ("cold", "process_started", True)


def test_what_is_found_out_later_says_whose_boot_it_was() -> None:
    booting = Booting("scale_state", caused_boot=True)
    folded = timeline((booting, 0.1), (Finished(phases=Phases(caused_boot=False)), 3.0), end=3.1)
    cold = classify(folded)
    assert (cold.verdict, cold.evidence, cold.caused_boot) == ("cold", "scale_state", False)


def test_news_of_a_boot_counts_from_the_first() -> None:
    folded = timeline(
        (Booting("loading_reported"), 1.0),
        (Booting("loading_reported"), 2.0),
        (Delta("a"), 3.0),
        end=4.0,
    )
    assert close(folded.boot_seconds, 2.0)
    assert close(folded.execute_seconds, 1.0)


def test_a_provider_s_own_account_takes_the_place_of_our_stamps() -> None:
    phases = Phases(
        queue_seconds=0.0, boot_seconds=7.25, execute_seconds=1.5, evidence="delay_reported"
    )
    folded = timeline((Delta("a"), 9.0), (Finished(phases=phases), 9.5), end=9.5)
    assert folded.queue_seconds == 0.0
    assert folded.boot_seconds == 7.25
    assert folded.execute_seconds == 1.5
    assert classify(folded).verdict == "cold"
    assert classify(folded).evidence == "delay_reported"


def test_a_reported_boot_of_zero_is_warm() -> None:
    phases = Phases(boot_seconds=0.0, evidence="delay_reported")
    folded = timeline((Finished(phases=phases), 1.0), end=1.0)
    assert (classify(folded).verdict, classify(folded).caused_boot) == ("warm", False)


def test_latency_alone_never_asserts() -> None:
    for event in (Booting("latency_only"), Started(evidence="latency_only")):
        assert classify(timeline((event, 0.1), end=60.0)).verdict == "unknown"
    phases = Phases(boot_seconds=50.0, evidence="latency_only")
    assert classify(timeline((Finished(phases=phases), 60.0), end=60.0)).verdict == "unknown"


def test_warm_needs_evidence_too() -> None:
    assert classify(timeline((Started(), 0.0), end=1.0)).verdict == "unknown"
    warm = classify(timeline((Started(evidence="scale_state"), 0.0), end=1.0))
    assert (warm.verdict, warm.evidence) == ("warm", "scale_state")


def test_clock_skew_is_clamped() -> None:
    folded = timeline((Booting("phase_reported"), 2.0), (Started(), 1.5), end=3.0)
    assert folded.boot_seconds == 0.0


def test_a_wait_that_is_not_divided_is_not_divided_by_our_stamps() -> None:
    phases = Phases(wait_seconds=102.7, evidence="timestamps_reported", waited_for_boot=True)
    folded = timeline(
        (Queued(), 0.1),
        (Booting("timestamps_reported"), 6.0),
        (Started(), 103.0),
        (Finished(phases=phases), 110.0),
        end=110.0,
    )
    assert (folded.queue_seconds, folded.boot_seconds) == (None, None)
    assert folded.wait_seconds == 102.7


def test_a_boot_of_unknown_length_is_cold_by_its_evidence() -> None:
    phases = Phases(wait_seconds=9.0, evidence="timestamps_reported", waited_for_boot=True)
    cold = classify(timeline((Finished(phases=phases), 10.0), end=10.0))
    assert (cold.verdict, cold.evidence, cold.caused_boot) == ("cold", "timestamps_reported", None)
    suggested = Phases(wait_seconds=9.0, evidence="latency_only", waited_for_boot=True)
    assert classify(timeline((Finished(phases=suggested), 10.0), end=10.0)).verdict == "unknown"
    unproved = Phases(wait_seconds=9.0, waited_for_boot=True)
    assert classify(timeline((Finished(phases=unproved), 10.0), end=10.0)).verdict == "unknown"
