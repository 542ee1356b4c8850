"""``gateway import modal`` of a billing report: with what is booked it adds up to the report."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.ledger.care.inspect import verify
from gateway.ledger.reading.booked import booked
from gateway.ledger.rows import AttemptRow, ChargeRow
from gateway.ledger.writing.imports import ImportJournal
from gateway.settings import ConfigError
from tests.emulators.modal import TOKEN, Modal, serve_modal
from tests.ledger.samples import idle_charge
from tests.reconciliation.bills import H100, ran

DAY = "2026-11-22"
DAY_US = 1_795_305_600_000_000
HOUR_US = 3_600_000_000
CONFIG = """
deployments:
  my-llm: {{provider: modal, model: m, app: my-app, function: f, price: modal-h100}}
  left: {{provider: modal, model: l, app: shared, function: f, price: modal-h100}}
  right: {{provider: modal, model: r, app: shared, function: g, price: modal-h100}}
providers:
  modal: {{token_id: {0}, token_secret: {1}{2}}}
models:
  llm: {{deployments: [my-llm, left, right]}}
"""
# Modal writes costs with as many places as they have; sums of one app and hour are rounded once.
REPORT = (
    ("my-app", 10, "1.000000000000400000"),
    ("my-app", 10, "0.000000000000200000"),
    ("my-app", 12, "3.25"),
    ("shared", 10, "0.5"),
    ("credit-scoring", 11, "0.75"),  # an app, and no credit
)


@pytest.fixture
def modal() -> Iterator[Modal]:
    with serve_modal() as running:
        yield running


class Here:
    """A data folder, and the command on it."""

    def __init__(self, folder: Path, server_url: str | None = None) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        more = "" if server_url is None else f", server_url: '{server_url}'"
        (folder / "gateway.yml").write_text(CONFIG.format(*TOKEN, more))

    def run(self, *words: str | Path, command: str = "import") -> Any:
        given = ["--config", str(self.folder / "gateway.yml"), "--data-dir", str(self.data_dir)]
        found = CliRunner().invoke(app, [command, *map(str, words), *given])
        if isinstance(found.exception, ConfigError):
            raise found.exception
        return found

    def imports(self, *words: str | Path) -> Any:
        result = self.run("modal", *words, "--json")
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.output)

    def report(self, *lines: tuple[str, int, str], name: str = "report.csv") -> Path:
        """As `modal billing report -r h --csv --show-resources` prints it, or `--json`."""
        heads = ("Object ID", "Description", "Environment", "Interval Start", "Resource", "Cost")
        rows = [
            ("ap-1", app, "main", f"{DAY}T{at:02d}:00:00", "cpu", usd) for app, at, usd in lines
        ]
        path = self.folder / name
        if path.suffix == ".json":
            keys = [head.lower().replace(" ", "_") for head in heads]
            path.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
            return path
        out = io.StringIO()
        csv.writer(out).writerows([heads, *rows])
        path.write_text(out.getvalue())
        return path

    def calls(self, *calls: tuple[str, str, float]) -> Path:
        """As `modal function calls --json` prints them: id, begin, seconds."""
        path = self.folder / "calls.json"
        said = [
            {
                "function_call_id": of,
                "status": "success",
                "enqueued_at": f"{DAY}T{at}Z",
                "started_at": f"{DAY}T{at}Z",
                "execution_time_seconds": seconds,
            }
            for of, at, seconds in calls
        ]
        path.write_text(json.dumps(said))
        return path

    def books(self, attempts: Sequence[AttemptRow], charges: Sequence[ChargeRow] = ()) -> None:
        with ImportJournal(self.data_dir) as journal:
            journal.write(attempts, charges)

    def by_hour(self) -> dict[tuple[str, int], Decimal]:
        """What is booked, by deployment and hour of the day."""
        sums: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
        for row in booked(self.data_dir, "modal", DAY_US, DAY_US + 24 * HOUR_US):
            at = (row.deployment, (row.at_us - DAY_US) // HOUR_US)
            sums[at] += Decimal(row.known_pico_usd).scaleb(-12)
        return dict(sums)


@pytest.mark.parametrize("name", ["report.csv", "report.json"])
def test_a_report_alone_is_booked_whole(tmp_path: Path, name: str) -> None:
    here = Here(tmp_path)
    path = here.report(*REPORT, name=name)
    told = here.imports(path)["report"]
    assert (told["sums"], told["charges"]) == (4, 4)
    assert told["reported_usd"] == told["added_usd"] == "5.500000000001"
    assert (told["oldest"][:13], told["newest"][:13]) == (f"{DAY}T10", f"{DAY}T13")
    expected = {
        ("my-llm", 10): Decimal("1.000000000001"),
        ("my-llm", 12): Decimal("3.25"),
        ("shared", 10): Decimal("0.5"),  # of two deployments: whose it is, nobody knows
        ("credit-scoring", 11): Decimal("0.75"),
    }
    assert here.by_hour() == expected
    again = here.imports(path)["report"]
    assert (again["charges"], again["added_usd"]) == (0, "0")
    assert here.by_hour() == expected
    assert verify(here.data_dir) == []
    shown = here.run("modal", path).output
    assert "5.500000000001 USD in 4 sums" in shown and "0 charges added" in shown


def test_what_is_booked_already_is_not_booked_twice(tmp_path: Path) -> None:
    """Imported calls, live ones, idle time: the charge is what they leave, in each hour."""
    here = Here(tmp_path)
    path = here.report(*REPORT)
    calls = here.calls(("fc-1", "10:10:00", 100), ("fc-2", "10:50:00", 60), ("fc-3", "13:00:00", 9))
    live = ran(0, "500", hours=0.5, **H100)  # at 12:30, for 0.4875
    at_right = ran(1, "100", hours=-1.75, **{**H100, "deployment": "right", "provider_model": "r"})
    idle = idle_charge(
        provider="modal", deployment="my-llm", period_start_at_us=DAY_US + 12 * HOUR_US
    )
    here.books([live, at_right], [idle])
    told = here.imports(calls, path, "--deployment", "my-llm")
    assert told["added"] == 3
    assert told["report"]["reported_usd"] == "5.500000000001"
    found = here.by_hour()
    assert found["my-llm", 10] == Decimal("1.000000000001")
    assert found["my-llm", 12] == Decimal("3.25")
    assert found["shared", 10] + found["right", 10] == Decimal("0.5")
    assert ("my-llm", 13) in found  # the report has nothing of that hour and says nothing of it
    said = json.loads(
        here.run("--provider", "modal", "--bill", path, "--json", command="reconcile").output
    )
    by_name = {(group["what"], group["period"][:13]): group for group in said["groups"]}
    for name, at, _ in REPORT:
        assert by_name[name, f"{DAY}T{at}"]["verdict"] == "matched"
    assert verify(here.data_dir) == []


def test_calls_that_come_after_the_report_are_taken_out_of_it(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.imports(here.report(*REPORT))
    calls = here.calls(
        ("fc-1", "10:10:00", 2000), ("fc-2", "12:50:00", 60), ("fc-3", "13:00:00", 9)
    )
    for _ in range(2):  # the second time they are known, and nothing more is taken out
        here.imports(calls, "--deployment", "my-llm")
        found = here.by_hour()
        assert found["my-llm", 10] == Decimal("1.000000000001")  # the calls alone are more
        assert found["my-llm", 12] == Decimal("3.25")
        assert found["my-llm", 13] > 0
    assert here.imports(here.report(*REPORT))["report"]["added_usd"] == "0"


def test_a_report_that_says_otherwise_later_is_followed(tmp_path: Path) -> None:
    here = Here(tmp_path)
    for usd in ("1", "2", "1", "2", "0"):
        here.imports(here.report(("my-app", 10, usd)))
        assert here.by_hour()["my-llm", 10] == Decimal(usd)


def test_hours_after_a_day_and_a_day_after_hours_add_up(tmp_path: Path) -> None:
    here = Here(tmp_path)
    day = tmp_path / "day.csv"
    day.write_text(
        "Object ID,Description,Environment,Interval Start,Cost\n"
        + f"ap-1,my-app,main,{DAY}T00:00:00,4.25\n"
    )
    hours = here.report(("my-app", 0, "0"), ("my-app", 10, "1"), ("my-app", 12, "3.25"))
    for path in (day, hours, day, hours):
        here.imports(path)
        assert sum(here.by_hour().values()) == Decimal("4.25")


def test_modal_is_asked_where_no_file_is_given(tmp_path: Path, modal: Modal) -> None:
    here = Here(tmp_path, modal.url)
    epoch = DAY_US // 10**6
    modal.billed = [(app, epoch + at * 3600, usd) for app, at, usd in REPORT]
    period = ("--since", f"{DAY}T11:30:00Z", "--until", f"{DAY}T12:59:00Z")
    told = here.imports(*period)["report"]
    assert (told["sums"], told["reported_usd"]) == (1, "0.75")  # hour 12 is not over
    told = here.imports("--since", f"{DAY}T00:00:00Z", "--until", f"{DAY}T13:00:00Z")["report"]
    assert (told["reported_usd"], told["added_usd"]) == ("5.500000000001", "4.750000000001")
    modal.billed.append(("my-app", epoch, "a lot"))
    with pytest.raises(ConfigError, match=r"no amount\. Nothing was imported"):
        here.imports("--since", f"{DAY}T00:00:00Z", "--until", f"{DAY}T13:00:00Z")


def test_modal_refuses_a_wrong_token(tmp_path: Path, modal: Modal) -> None:
    here = Here(tmp_path, modal.url)
    modal.token = ("ak-other", "as-other")
    with pytest.raises(ConfigError, match="Nothing was imported") as refused:
        here.imports()
    assert TOKEN[1] not in str(refused.value)


def test_charges_of_a_report_are_imported_and_not_live(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.books([ran(0, "500", hours=0.5, **H100)])
    here.imports(here.report(*REPORT))
    words = ("--start-time", f"{DAY}T00:00:00Z", "--end-time", f"{DAY}T23:00:00Z")
    shown = here.run(*words, "--group-by", "origin", "--json", command="costs")
    by_origin = {row["group"]["origin"]: row for row in json.loads(shown.output)}
    assert by_origin["imported"]["charges"] == 4 and by_origin["imported"]["attempts"] == 0
    assert by_origin["live"]["attempts"] == 1 and by_origin["live"]["charges"] == 0


def test_what_is_neither_is_said(tmp_path: Path) -> None:
    here = Here(tmp_path)
    odd = tmp_path / "odd.csv"
    odd.write_text("Description,Interval Start\nmy-app,2026-11-22\n")
    with pytest.raises(ConfigError, match="no column is the amount"):
        here.imports(odd)
    odd.write_text("[1, 2]")
    with pytest.raises(ConfigError, match="nor a billing report"):
        here.imports(odd)
    with pytest.raises(ConfigError, match="cannot be read"):
        here.imports(tmp_path / "nothing.json")
