"""What a provider says later goes through the accounting of a live attempt."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from gateway.accounting.later import settle_later
from gateway.accounting.prices import PriceRow
from gateway.ledger.rows import AttemptRow
from providers.contract import ContentRefused, JobReport, Phases, UpstreamFailed, Usage
from tests.reconciliation.rows import broken_off, price


def changed(row: AttemptRow, **said: Any) -> AttemptRow:
    return replace(row, **settle_later(row, JobReport("job-0", **{"status": "succeeded", **said})))


def priced(**rates: Any) -> dict[str, Any]:
    named = {"name": "p", "effective_from": "2026-01-01", "source": "t", "checked_on": "2026-01-01"}
    return PriceRow.model_validate({**named, **rates}).record


def test_seconds_that_the_provider_reports_are_billed_to_the_last_digit() -> None:
    phases = Phases(
        wait_seconds=90.012,
        execute_seconds=2.123456789,
        waited_for_boot=True,
        evidence="timestamps_reported",
        revision="v1",
    )
    row = changed(broken_off(), phases=phases, usage=Usage(12, 40))
    assert row.cost_status == "measured"
    assert row.cost_pico_usd == int(Decimal("2.123457") * Decimal("0.000975") * 10**12)
    assert row.low_pico_usd == row.high_pico_usd == row.cost_pico_usd
    assert [line["kind"] for line in row.cost_lines] == ["execute_seconds"]
    assert (row.verdict, row.evidence) == ("cold", "timestamps_reported")
    assert (row.wait_seconds, row.boot_seconds) == (90.012, None)
    assert (row.input_tokens, row.input_tokens_source, row.output_tokens) == (12, "reported", 40)
    assert row.upstream_revision == "v1"
    # How it ended for its caller, and how long that waited, is not the provider's to say.
    assert (row.status, row.error_type) == ("interrupted", "Interrupted")
    assert (row.total_seconds, row.first_output_seconds) == (10.0, None)


def test_what_the_provider_does_not_say_stays_as_it_was_booked() -> None:
    row = broken_off(execute_seconds=3.0, queue_seconds=1.0, input_tokens=7)
    assert settle_later(row, JobReport("job-0", "succeeded")) == {}
    by_token = broken_off(price=priced(usd_per_million_output_tokens="2"))
    changes = settle_later(by_token, JobReport("j", "cancelled", None, Phases(execute_seconds=4)))
    assert changes == {"execute_seconds": 4}


def test_an_unknown_price_stays_unknown_and_counts_are_kept_all_the_same() -> None:
    row = broken_off(price=None, cost_status="unknown", cost_pico_usd=None, cost_lines=[])
    changes = settle_later(row, JobReport("j", "succeeded", Usage(3, 4), Phases(execute_seconds=2)))
    assert changes["output_tokens"] == 4 and "cost_status" not in changes


def test_a_cost_that_the_provider_itself_reports_needs_no_price() -> None:
    row = broken_off(price=None, cost_status="unknown", cost_pico_usd=None)
    row = changed(row, usage=Usage(cost_usd=Decimal("0.25")))
    assert (row.cost_status, row.cost_pico_usd) == ("measured", 25 * 10**10)


def test_a_job_that_never_began_costs_nothing() -> None:
    row = changed(
        broken_off(), status="cancelled", phases=Phases(wait_seconds=80.0, execute_seconds=0.0)
    )
    assert (row.cost_status, row.cost_pico_usd, row.high_pico_usd) == ("measured", 0, 0)


def test_a_refusal_before_any_work_costs_nothing_and_after_it_what_it_used() -> None:
    refused = JobReport("j", "failed", failure=ContentRefused())
    assert settle_later(broken_off(), refused)["cost_pico_usd"] == 0
    worked = Phases(execute_seconds=2.0)
    failed = JobReport("j", "failed", None, worked, failure=UpstreamFailed())
    assert settle_later(broken_off(), failed)["cost_pico_usd"] == 1_950_000_000


def test_a_boot_that_was_seen_is_not_unseen() -> None:
    seen = broken_off(
        verdict="cold",
        evidence="scale_state",
        caused_boot=True,
        boot_seconds=12.0,
        price=price("modal-h100"),
    )
    row = changed(seen, phases=Phases(wait_seconds=13.0, execute_seconds=2.0, caused_boot=False))
    assert (row.verdict, row.evidence, row.caused_boot) == ("cold", "scale_state", False)
    assert [line["kind"] for line in row.cost_lines] == ["execute_seconds"]  # another's boot
    assert row.pending == ["idle"]


def test_a_wait_that_nobody_divides_is_an_estimate_where_boots_are_billed() -> None:
    row = broken_off(price=price("replicate-deployment-gpu-l40s"))
    row = changed(row, phases=Phases(wait_seconds=10.0, execute_seconds=2.0))
    assert row.cost_status == "estimated"
    assert (row.low_pico_usd, row.high_pico_usd) == (1_950_000_000, 11_700_000_000)


def test_the_share_of_a_machine_is_not_known_afterwards() -> None:
    row = broken_off(price=priced(usd_per_second="1", shared=True))
    changes = settle_later(row, JobReport("j", "succeeded", None, Phases(execute_seconds=5.0)))
    assert changes == {"execute_seconds": 5.0}
