"""What a start reads of the ledger to know how warm its deployments are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.ledger.reading import warm_history
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow
from tests.ledger.asking import Fill
from tests.ledger.samples import NOON_US, begun, finished

LATER_US = NOON_US + 10**9


def row(number: int, **changes: Any) -> AttemptRow:
    return finished(begun(number), **changes)


def test_the_newest_of_each_deployment(fill: Fill) -> None:
    reports = fill(
        row(1, instance_id="i-1", upstream_revision="r-1", queue_seconds=0.5),
        row(2, deployment="other", verdict="warm", wait_seconds=None, first_output_seconds=0.2),
        row(3, status="failed", cost_pico_usd=0, first_output_seconds=None, execute_seconds=0.0),
        row(7, deployment="cut", status="failed", first_output_seconds=None),
        begun(4),
        row(5, origin="imported"),
        finished(begun(6, at_us=LATER_US + 1)),
    )
    found = reports.warm_history(LATER_US)
    assert set(found) == {"local-smollm2", "other", "cut"}
    refused, first = found["local-smollm2"]
    assert (first.attempt_id, refused.attempt_id) == ("att_000001", "att_000003")
    assert (first.instance_id, first.revision, first.queue_seconds) == ("i-1", "r-1", 0.5)
    assert (first.verdict, first.caused_boot, first.boot_seconds) == ("cold", True, 0.62)
    assert first.work_after_seconds == 0.62 and first.worked
    assert first.completed_at_us - first.begun_at_us == 950_000
    assert not refused.worked and refused.work_after_seconds is None
    (cut,) = found["cut"]  # its time was over before it had shown anything: the boot was seen whole
    assert (cut.boot_seconds, cut.work_after_seconds, cut.worked) == (0.62, 0.62, True)
    (warm,) = found["other"]
    assert (warm.verdict, warm.work_after_seconds) == ("warm", 0.2)


def test_it_is_bounded(fill: Fill) -> None:
    reports = fill(*(row(number) for number in range(1, 41)))
    assert len(reports.warm_history(LATER_US)["local-smollm2"]) == 40
    with reports._reading() as snapshot:
        assert snapshot is not None
        found = warm_history.recent(snapshot.connection, LATER_US, 7)
    assert [past.attempt_id[-2:] for past in found["local-smollm2"]] == [
        *("40", "39", "38", "37", "36", "35", "34"),
    ]


def test_a_ledger_that_is_not_there_yet(tmp_path: Path) -> None:
    assert Reports(tmp_path / "none.sqlite3").warm_history(LATER_US) == {}
