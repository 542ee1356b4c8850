"""What one call cost, followed from the answer to every place that tells of it."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.http.dashboard.figures import UNKNOWN, usd
from tests.acceptance.conftest import Here
from tests.acceptance.gateways import Gateway, serving, until
from tests.browser import Browser

CASES = ("quick", "unpriced")  # of a known cost, and of one that nobody knows
COST = "gateway_cost_usd_total"
UNPRICED = "gateway_unpriced_attempts_total"
ENDED = "gateway_attempts_total"


@dataclass(frozen=True)
class Told:
    """One call, and what was seen of it."""

    answer: Any
    before: dict[str, Decimal]
    after: dict[str, Decimal]
    data_dir: Path
    url: str

    @property
    def id(self) -> str:
        found = self.answer["id"]
        assert isinstance(found, str)
        return found

    @property
    def cost(self) -> Any:
        return self.answer["cost"]

    def risen(self, name: str) -> Decimal:
        return self.after.get(name, Decimal(0)) - self.before.get(name, Decimal(0))


@pytest.fixture(scope="module")
def running(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One of these tests' own: its metrics count nobody else's calls."""
    folder = tmp_path_factory.mktemp("value")
    with serving(config, folder / "data", folder / "log") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def told(running: Gateway) -> dict[str, Told]:
    return {case: _called(running, case) for case in CASES}


def _called(gateway: Gateway, case: str) -> Told:
    gateway.generate(case)  # what is there already, so that a difference has to be one
    until(lambda: _metrics(gateway, case).get(ENDED) == 1)
    before = _metrics(gateway, case)
    answer = gateway.generate(case, tags={"case": case})
    until(lambda: _metrics(gateway, case).get(ENDED) == 2)
    return Told(answer, before, _metrics(gateway, case), gateway.data_dir, gateway.url)


def _metrics(gateway: Gateway, deployment: str) -> dict[str, Decimal]:
    text = gateway.call("GET", "/metrics").raw.decode()
    found: dict[str, Decimal] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("deployment") == deployment and sample.name in _COUNTED:
                found[sample.name] = found.get(sample.name, Decimal(0)) + Decimal(str(sample.value))
    return found


_COUNTED = {COST, UNPRICED, ENDED}


def _fetch(browser: Browser, path: str) -> list[dict[str, str]]:
    """A page's CSV, as its link is followed: by the browser, from where it stands."""
    link = browser.value(f"document.querySelector('a[href*=\"{path}.csv\"]').href")
    text = browser.value(f"fetch({json.dumps(link)}).then((answer) => answer.text())")
    return list(csv.DictReader(io.StringIO(text)))


def _seen(browser: Browser, told: Told) -> dict[str, tuple[str, str | None]]:
    """What stands on each page, and the exact figure behind it."""
    of_case = f"last=24h&tag=case%3D{told.answer['model']}"
    seen: dict[str, tuple[str, str | None]] = {}

    def note(page: str, selector: str) -> None:
        found = f"document.querySelector({json.dumps(selector)})"
        exact = browser.value(f"{found}.getAttribute('title')")
        seen[page] = (browser.value(f"{found}.innerText"), exact)

    browser.size(1920)
    browser.open(f"{told.url}/dashboard/operations?{of_case}")
    heads = browser.value("[...document.querySelectorAll('thead th')].map((one) => one.innerText)")
    note("list", f"tbody tr > :nth-child({heads.index('cost') + 1})")
    (row,) = _fetch(browser, "operations")
    seen["list.csv"] = (row["cost_usd"] or UNKNOWN, row["cost_usd"] or None)
    browser.submit("document.querySelector('tbody tr a').click()")
    assert browser.value("document.querySelector('h1').innerText") == told.id
    note("operation", ".facts b")
    browser.open(f"{told.url}/dashboard/cost?{of_case}")
    note("cost", ".facts b")
    (row,) = _fetch(browser, "cost")
    seen["cost.csv"] = (row["known_usd"] or UNKNOWN, row["known_usd"] or None)
    return seen


def _commands(told: Told, here: Here) -> tuple[Any, Any, dict[str, str], dict[str, str]]:
    """As JSON: the bill explained, the report; as CSV: the report, the ledger's row."""
    where = ["--data-dir", str(told.data_dir)]
    by_case = ["costs", "--group-by", "tag:case", *where]
    ran = [
        here(*command)
        for command in (
            ("prices", "explain", told.id, "--json", *where),
            (*by_case, "--json"),
            (*by_case, "--csv"),
            ("ledger", "export", "--format", "csv", *where),
        )
    ]
    assert [(one.status, one.err) for one in ran] == [(0, "")] * 4
    case = told.answer["model"]
    (report,) = (r for r in json.loads(ran[1].out) if r["group"]["tag:case"] == case)
    table, rows = (list(csv.DictReader(io.StringIO(one.out))) for one in ran[2:])
    (line,) = (row for row in table if row["tag:case"] == case)
    (exported,) = (row for row in rows if row["operation_id"] == told.id)
    return json.loads(ran[0].out), report, line, exported


def _row(told: Told) -> sqlite3.Row:
    with sqlite3.connect(told.data_dir / "ledger.sqlite3") as database:
        database.row_factory = sqlite3.Row
        asked = "select * from attempts where operation_id = ?"
        (row,) = database.execute(asked, [told.id]).fetchall()
    database.close()
    assert isinstance(row, sqlite3.Row)
    return row


def test_a_known_cost_is_the_same_everywhere(
    chromium: Browser, running: Gateway, told: dict[str, Told], here: Here
) -> None:
    one = told["quick"]
    cost = one.cost["total_usd"]
    assert Decimal(cost) > 0 and one.cost["status"] == "measured"
    assert running.get(f"/v1/operations/{one.id}")["cost"] == one.cost
    (reported,) = running.get("/v1/costs?tag:case=quick")["data"]
    assert reported["known_usd"] == cost and reported["unknown_attempts"] == 0
    assert one.risen(COST) == Decimal(cost) and one.risen(UNPRICED) == 0
    assert Decimal(_row(one)["cost_pico_usd"]).scaleb(-12) == Decimal(cost)
    explained, report, line, exported = _commands(one, here)
    assert [part["booked_usd"] for part in explained] == [cost]
    assert [part["recomputed_usd"] for part in explained] == [cost]
    assert report["known_usd"] == line["known_usd"] == cost
    assert Decimal(exported["cost_pico_usd"]).scaleb(-12) == Decimal(cost)
    seen = _seen(chromium, one)
    assert {exact for _, exact in seen.values()} == {cost}
    assert {text for page, (text, _) in seen.items() if "csv" not in page} == {usd(cost)}


def test_an_unknown_cost_is_unknown_everywhere(
    chromium: Browser, running: Gateway, told: dict[str, Told], here: Here
) -> None:
    one = told["unpriced"]
    assert (one.cost["total_usd"], one.cost["status"]) == (None, "unknown")
    assert running.get(f"/v1/operations/{one.id}")["cost"] == one.cost
    (reported,) = running.get("/v1/costs?tag:case=unpriced")["data"]
    assert reported["unknown_attempts"] == reported["attempts"] == 1
    assert one.risen(UNPRICED) == 1 and COST not in one.after
    row = _row(one)
    assert row["cost_pico_usd"] is None and row["cost_status"] == "unknown"
    explained, report, line, exported = _commands(one, here)
    assert [part["booked_usd"] for part in explained] == [None]
    assert report["unknown_attempts"] == 1
    assert line["known_usd"] == exported["cost_pico_usd"] == ""
    assert line["unknown_attempts"] == "1"
    assert set(_seen(chromium, one).values()) == {(UNKNOWN, None)}


def test_the_command_line_says_what_the_answer_said(running: Gateway, here: Here) -> None:
    asked = ["generate", "Hi", "--url", running.url, "--model"]
    said = {case: here(*asked, case).err for case in CASES}
    operations = running.get("/v1/operations?limit=2")["data"]
    costs = {row["model"]: row["cost"]["total_usd"] for row in operations}
    assert f"| ${costs['quick']} (measured) |" in said["quick"]
    assert costs["unpriced"] is None
    assert "| cost unknown |" in said["unpriced"] and "$" not in said["unpriced"]
