"""Every figure leads to the rows behind it, and those come to the same figure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from gateway.ledger.layout import journal_dir
from gateway.ledger.rows import AttemptRow, ChargeRow
from gateway.ledger.stay_rules import GOES_ON, REST, UNUSED, USED
from gateway.ledger.writing.journal import Journal
from tests.dashboard.conftest import configuration
from tests.gateway_app.gateways import Gateway, running_gateway
from tests.ledger.databases import ship
from tests.ledger.samples import begun, estimated, finished, idle_charge, line, pico, unpriced

HOUR_US = 3_600_000_000
# Of the day before yesterday, so that days and hours are whole and nothing lies beyond the range.
BEGIN_US = (time.time_ns() // 1000 // (24 * HOUR_US) - 2) * 24 * HOUR_US
MONTH = f"{datetime.fromtimestamp(BEGIN_US / 1e6, UTC):%Y-%m}"


def attempts() -> Iterator[AttemptRow]:
    for number in range(14):
        at_us = BEGIN_US + number % 3 * 13 * HOUR_US + number * 17_000_000
        row = begun(
            number,
            at_us=at_us,
            operation_id=f"gen_{number // 2 if number < 4 else number}",
            ordinal=number % 2 if number < 4 else 0,
            key_id=(None, "app", "batch")[number % 3],
            tags={} if number % 4 else {"team": "ads"},
            provider="scripted",
            deployment=("seconds", "tokens", "unpriced")[number % 3],
            model=("seconds", "both")[number % 2],
        )
        if number < 4:  # two operations of two attempts
            row = replace(row, operation_at_us=BEGIN_US + number // 2 * 1_000_000)
        boot_seconds = (0.07, 0.62, 2.5, 2.5, 1200.0)[number % 5]
        match number % 6:
            case 0:
                row = unpriced(row, boot_seconds=boot_seconds)
            case 1:
                row = estimated(row, "0.001", "0.002", "0.004", verdict="warm", caused_boot=False)
            case 2:
                row = finished(row, verdict="unknown", caused_boot=None, evidence=None)
            case 3:
                lines = [line("execute_seconds", "1", "0.0001"), line("odd", "1", "0.0003")]
                row = finished(row, cost_lines=lines, boot_seconds=boot_seconds)
                cost = pico("0.0004")
                row = replace(row, cost_pico_usd=cost, known_pico_usd=cost)
                row = replace(row, low_pico_usd=cost, high_pico_usd=cost)
            case _:
                row = finished(row, boot_seconds=boot_seconds)
        yield replace(row, status="failed") if number == 5 else row


def charges() -> Iterator[ChargeRow]:
    kinds: tuple[tuple[Any, str], ...] = (
        ("idle", "to the attempt before it"),
        ("standing", "not allocated"),
        ("keep_warm", USED),
        ("keep_warm", UNUSED),
        ("keep_warm", REST),
        ("fee", "not allocated"),
        ("adjustment", "traffic that did not pass here"),
    )
    for number in range(14):
        kind, rule = kinds[number % 7]
        begin_us = BEGIN_US + number * 1_800_000_000 + 60_000_000
        row = idle_charge(
            number,
            kind=kind,
            rule=rule,
            provider="scripted",
            deployment=("seconds", "tokens")[number // 7],
            attempt_id=f"att_{number:06d}" if kind == "idle" else None,
            period_start_at_us=begin_us,
            period_end_at_us=begin_us + (number + 1) * 10_000_000,
            cost_pico_usd=pico(f"0.00{number + 1}"),
        )
        if number == 7:
            row = replace(row, status="estimated", high_pico_usd=pico("0.5"))
        if number == 5:
            row = replace(row, status="unknown", cost_pico_usd=None)
        yield row
    # One stay in three slices that ended unused, and one of which nobody knows the end.
    for number, (hour, rule) in enumerate(((2, GOES_ON), (3, GOES_ON), (4, UNUSED), (8, GOES_ON))):
        yield idle_charge(
            20 + number,
            kind="keep_warm",
            rule=rule,
            provider="scripted",
            deployment="seconds",
            period_start_at_us=BEGIN_US + hour * HOUR_US,
            period_end_at_us=BEGIN_US + (hour + 1) * HOUR_US,
            cost_pico_usd=pico(f"0.0{number + 1}"),
        )


@pytest.fixture(scope="module")
def booked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("booked")
    journal = Journal.open(journal_dir(folder))
    for row in attempts():
        (journal.begin if row.status == "running" else journal.end)(row)
    for paid in charges():
        journal.charge(paid)
    journal.close()
    ship(folder)
    with running_gateway(configuration(), folder) as running:
        yield running


@pytest.fixture(scope="module")
def followed() -> dict[str, Page]:
    """Pages that were opened, by where the links said."""
    return {}


@dataclass
class Figure:
    """A cell of a table, or a figure above one."""

    column: str
    kinds: list[str]
    exact: str | None
    text: str = ""
    link: str | None = None


@dataclass
class Page(HTMLParser):
    """Figures in tables, and facts above them."""

    html: str
    cells: list[Figure] = field(default_factory=list)
    facts: dict[str, Figure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._heads: list[str] = []
        self._at = 0
        self._open: Figure | None = None
        self._inside = ""
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "thead":
            self._heads = []
        if tag in ("thead", "tbody"):
            self._inside = tag
        if tag == "tr":
            self._at = 0
        if tag in ("td", "th") and self._inside == "thead":
            self._heads.append(given.get("title", ""))
        elif tag in ("td", "th") and self._inside == "tbody":
            head = self._heads[self._at] if self._at < len(self._heads) else ""
            name = head or given.get("data-name", "")
            self._open = Figure(name, given.get("class", "").split(), given.get("title"))
            self.cells.append(self._open)
            self._at += 1
        if tag == "dd":
            self._open = Figure(given.get("data-figure", ""), [], given.get("data-value"))
            self.facts[self._open.column] = self._open
        if tag == "a" and self._open is not None:
            self._open.link = self._open.link or given.get("href")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "dd"):
            self._open = None
        if tag == "tbody":
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.text += data.strip()


def page_of(gateway: Gateway, path: str) -> Page:
    answer = gateway.http.get(f"/dashboard/{path}")
    assert answer.status_code == 200, (path, answer.text[:500])
    return Page(answer.text)


PAGES = (
    "cost?last=30d&group_by=key",
    "cost?last=30d&group_by=deployment&deployment=seconds&deployment=tokens",
    f"cost?start_time={datetime.fromtimestamp((BEGIN_US + HOUR_US) / 1e6, UTC):%Y-%m-%dT%H:%M}",
    "operations?last=30d&cost_status=unknown",
    "charges?last=30d",
    "cold-starts?last=30d&deployment=seconds&bucket_width=all",
    "cold-starts?last=30d&verdict=cold&time_zone=Asia/Kolkata",
    f"keep-warm?month={MONTH}&plan=seconds",
)
# What a figure is called above the rows that it leads to; others are computed from those rows.
SAME = {
    "operations": {
        **dict.fromkeys(("attempts", "cold", "warm", "unknown", "boots"), "attempts"),
        **{name: name for name in ("known_usd", "measured_usd", "estimated_usd", "high_usd")},
        **{name: name for name in ("active_usd", "boot_usd", "other_usd")},
        "unknown_attempts": "attempts",
    },
    "charges": {
        **dict.fromkeys(("known_usd", "idle_usd", "fees_usd", "charges_usd"), "known_usd"),
        **dict.fromkeys(("cost_usd", "wasted_usd", "open_usd"), "known_usd"),
        **dict.fromkeys(("charges", "unknown_charges"), "charges"),
        **dict.fromkeys(("cold_starts_avoided", "stays_wasted"), "charges"),
        "estimated_usd": "estimated_usd",
        "measured_usd": "measured_usd",
        "kept_seconds": "seconds",
    },
}


@pytest.mark.parametrize("path", PAGES)
def test_each_figure_leads_to_rows_that_come_to_it(
    booked: Gateway, followed: dict[str, Page], path: str
) -> None:
    page = page_of(booked, path)
    figures = [cell for cell in page.cells if "number" in cell.kinds and "label" not in cell.kinds]
    led = [fact for name, fact in page.facts.items() if name and fact.link]
    if path.startswith("cost"):
        assert len(led) == len([name for name in page.facts if name])
    figures += led
    assert figures
    held = 0
    for figure in figures:
        # 0 of what the filters leave out has no rows to show.
        assert figure.link or figure.text == "0", (path, figure)
        target = (figure.link or "").removeprefix("./").removeprefix("../dashboard/")
        kind = urlsplit(target).path
        if kind not in SAME:
            continue
        if target not in followed:
            followed[target] = page_of(booked, target)
            check_list(booked, target, followed[target])
        told = SAME[kind].get(figure.column)
        if told is None:  # computed
            continue
        held += 1
        assert_same(figure, followed[target].facts, told, (path, figure, target))
    assert held, path


def assert_same(figure: Figure, facts: dict[str, Figure], told: str, where: object) -> None:
    if told == "known_usd" and told not in facts:
        told = "attempts_usd"
    found = facts.get(told)
    value = figure.text if figure.exact is None else figure.exact
    if figure.text.startswith("unknown"):
        assert found is None or found.exact is None, where
    elif figure.text == "no bound":
        assert found is not None and found.text == "no bound", where
    else:
        other = "0" if found is None else found.exact
        assert other is not None and Decimal(value.strip("$").replace(",", "")) == Decimal(other), (
            where
        )


def check_list(gateway: Gateway, target: str, page: Page) -> None:
    """The list itself, by the API, is what is said above it."""
    parts = urlsplit(target)
    params = [pair for pair in parse_qsl(parts.query) if pair[0] != "last"]
    answer = gateway.http.get(f"/v1/{parts.path}", params=[*params, ("limit", "1000")])
    assert answer.status_code == 200, answer.text
    rows = answer.json()["data"]
    if not rows:
        assert " in this range." in page.html
    elif parts.path == "charges":
        assert page.facts["charges"].exact == str(len(rows)), target
        known = [row["cost"]["total_usd"] for row in rows if row["cost"]["total_usd"] is not None]
        if known:
            assert Decimal(page.facts["known_usd"].exact or "x") == sum(map(Decimal, known))
    else:
        whole = sum(len(row["attempts"]) for row in rows)
        assert len(rows) <= int(page.facts["attempts"].exact or "x") <= whole, target


def test_figures_of_one_operation_are_those_of_its_rows(booked: Gateway) -> None:
    page = page_of(booked, "operations/gen_0")
    figures = [cell for cell in page.cells if "number" in cell.kinds]
    assert len(figures) == 14
    for figure in figures:
        assert figure.link is not None, figure
        address, _, anchor = figure.link.partition("#")
        if not anchor:
            assert urlsplit(address).path.endswith("prices"), figure
            continue
        text = page.html[page.html.index(f'id="{anchor}"') :].partition(">")[2]
        text = text.partition("</td>")[0]
        if figure.exact is not None:
            assert figure.exact in text, (figure, text)


def test_each_price_row_is_told(booked: Gateway) -> None:
    page = page_of(booked, "prices?name=config")
    links = [cell.link for cell in page.cells if cell.column == "id"]
    assert links
    for link in links:
        said = page_of(booked, (link or "").removeprefix("./"))
        assert any(cell.text in ("0.0001", "0.05") for cell in said.cells), said.html
    gone = page_of(booked, "prices?id=local-cpu@2026-11-01")
    assert "not in the price book" in gone.html


def test_what_is_computed_leads_to_what_it_is_from(booked: Gateway) -> None:
    page = page_of(booked, "compare?model=both&last=30d")
    cells = [cell for cell in page.cells if cell.column not in ("#", "candidate")]
    assert len(cells) == 20
    for cell in cells:
        assert cell.link is not None, cell
        path = urlsplit(cell.link).path.rpartition("/")[2]
        money = cell.column not in ("cold", "p50", "p95", "p99")
        assert path in (("prices", "operations") if money else ("operations",)), cell
        page_of(booked, cell.link.removeprefix("./"))


def test_charges_by_the_form_and_as_csv(booked: Gateway) -> None:
    all_of = booked.http.get("/dashboard/charges.csv?last=30d").text.splitlines()
    assert len(all_of) == 19
    some = booked.http.get("/dashboard/charges.csv?last=30d&kind=fee&cost_status=").text
    assert [row.rpartition(",")[2] for row in some.splitlines()[1:]] == ["chg_000012", "chg_000005"]
    unknown = [row for row in some.splitlines() if row.endswith("chg_000005")]
    assert ",unknown," in unknown[0] and ",0," not in unknown[0]
    shown = page_of(booked, "charges?kind=fee&last=30d")
    assert "<option selected>fee</option>" in shown.html
    two = page_of(booked, "charges?kind=fee&kind=idle&last=30d&rule=not+allocated")
    assert two.html.count('type="hidden" name="kind"') == 2 and "rule not allocated" in two.html
    unused = booked.http.get("/dashboard/charges.csv?last=30d&stay=unused").text.splitlines()
    ids = [row.rpartition(",")[2] for row in unused[1:]]
    assert ids == ["chg_000010", "chg_000022", "chg_000021", "chg_000020", "chg_000003"]
    older = page_of(booked, "charges?last=30d&limit=5")
    assert 'rel="next"' in older.html
