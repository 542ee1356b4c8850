"""``/v1/charges``, and operations by what only rows can tell; the same on the command line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli.commands import app
from gateway.ledger.layout import journal_dir
from gateway.ledger.writing.journal import Journal
from tests.gateway_app.gateways import Gateway, running_gateway
from tests.ledger.databases import ship
from tests.ledger.samples import NOON_US, begun, finished, idle_charge, unpriced

RANGE = {"start_time": "2026-11-22T11:00:00Z", "end_time": "2026-11-23T11:00:00Z"}
KINDS: tuple[Any, ...] = ("idle", "standing", "keep_warm", "fee", "adjustment")


@pytest.fixture(scope="module")
def booked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose ledger holds ten charges and six operations."""
    folder = tmp_path_factory.mktemp("booked")
    journal = Journal.open(journal_dir(folder))
    for number in range(6):
        row = begun(number, at_us=NOON_US + number * 1_000_000, operation_id=f"gen_{number}")
        journal.end(unpriced(row) if number % 3 == 0 else finished(row))
    for number in range(10):
        paid = idle_charge(number, kind=KINDS[number % 5], rule=f"rule {number % 2}")
        begin_us = NOON_US + number * 60_000_000
        paid = replace(paid, period_start_at_us=begin_us, attempt_id=f"att_{number:06d}")
        if number == 7:
            paid = replace(paid, status="unknown", cost_pico_usd=None)
        journal.charge(paid)
    journal.close()
    ship(folder)
    with running_gateway({"deployments": {}, "models": {}}, folder) as running:
        yield running


def command(booked: Gateway, *words: str) -> str:
    where = ["--data-dir", str(booked.data_dir)]
    times = ["--start-time", RANGE["start_time"], "--end-time", RANGE["end_time"]]
    result = CliRunner().invoke(app, [*words, *where, *times])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_charges_page_by_page(booked: Gateway) -> None:
    found, cursor = [], None
    while True:
        more: dict[str, str] = {} if cursor is None else {"cursor": cursor}
        page = booked.get("/v1/charges", limit=4, **RANGE, **more)
        found += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [f"chg_{number:06d}" for number in range(9, -1, -1)]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"kind": ["idle", "fee"]}, [8, 5, 3, 0]),
        ({"rule": "rule 1", "kind": "standing"}, [1]),
        ({"cost_status": "unknown"}, [7]),
        ({"model": "smollm2"}, [5, 4, 3, 2, 1, 0]),  # the others' attempts are not in the ledger
        ({"provider": "nobody"}, []),
    ],
)
def test_the_command_says_what_the_api_says(
    booked: Gateway, filters: dict[str, Any], ids: list[int]
) -> None:
    rows = booked.get("/v1/charges", **RANGE, **filters)["data"]
    assert [row["id"] for row in rows] == [f"chg_{number:06d}" for number in ids]
    options = []
    for name, values in filters.items():
        for value in [values] if isinstance(values, str) else values:
            options += [f"--{name.replace('_', '-')}", value]
    assert json.loads(command(booked, "charges", *options, "--json")) == rows
    told = list(csv.DictReader(io.StringIO(command(booked, "charges", *options, "--csv"))))
    assert [row["usd"] for row in told] == [row["cost"]["total_usd"] or "" for row in rows]
    assert [row["id"] for row in told] == [row["id"] for row in rows]


def test_charges_are_the_money_of_the_cost_report(booked: Gateway) -> None:
    (costs,) = booked.get("/v1/costs", **RANGE)["data"]
    rows = booked.get("/v1/charges", **RANGE)["data"]
    assert costs["charges"] == len(rows)
    for line in costs["lines"]:
        of_kind = [row for row in rows if row["kind"] == line["kind"]]
        known = [row["cost"]["total_usd"] for row in of_kind if row["cost"]["total_usd"]]
        if of_kind:
            assert sum(map(Decimal, known)) == Decimal(line["usd"] or 0)
            assert line["unknown_lines"] == len(of_kind) - len(known)


def test_unknown_is_not_0_on_a_terminal(booked: Gateway) -> None:
    (_, row, *_) = command(booked, "charges", "--cost-status", "unknown").splitlines()
    assert "unknown" in row and " 0 " not in row
    shown = command(booked, "charges", "--limit", "3")
    assert "The newest 3; there may be more: --limit." in shown
    assert len(shown.splitlines()) == 5


def test_operations_by_the_status_of_their_cost(booked: Gateway) -> None:
    rows = booked.get("/v1/operations", cost_status="unknown", **RANGE)["data"]
    assert [row["id"] for row in rows] == ["gen_3", "gen_0"]
    assert json.loads(command(booked, "operations", "--cost-status", "unknown", "--json")) == rows
    told = command(booked, "operations", "--line", "boot_seconds", "--csv").splitlines()
    assert [line.rpartition(",")[2] for line in told[1:]] == ["gen_5", "gen_4", "gen_2", "gen_1"]
    assert "0.000093" in told[1]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/charges?kind=gift", "kind"),
        ("/v1/charges?colour=red", "colour"),
        ("/v1/charges?line=boot_seconds", "line"),
        ("/v1/charges?cursor=WzEsWyJhIl1d", "cursor"),
        ("/v1/operations?kind=idle", "kind"),
        ("/v1/operations?boot_seconds=3", "boot_seconds"),
        ("/v1/costs?cost_status=unknown", "cost_status"),
    ],
)
def test_a_bad_question_names_its_parameter(booked: Gateway, path: str, param: str) -> None:
    answer = booked.http.get(path)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param
