"""Each report as a table, as JSON and as CSV: the same figures, and unknown is never 0."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Lived
from tests.cli.reports import ELSEWHERE, OTHERS, lines
from tests.cli.running import Ran, commands

Command = Callable[..., Ran]
REPORTS = sorted(set(commands()) - OTHERS - ELSEWHERE)


def test_every_report_has_both_forms() -> None:
    for names, command in commands().items():
        options = {option for parameter in command.params for option in parameter.opts}
        has = {"--json", "--csv"} & options
        assert len(has) == (0 if names in OTHERS else 2), names


def test_no_command_is_forgotten(lived: Lived, tmp_path: Path) -> None:
    assert set(lines(lived, tmp_path)) == set(REPORTS)
    assert OTHERS | ELSEWHERE < set(commands())


@pytest.mark.parametrize("names", REPORTS, ids=" ".join)
def test_each_form_of_each_report(
    lived: Lived, tmp_path: Path, command: Command, names: tuple[str, ...]
) -> None:
    asked = [*names, *lines(lived, tmp_path)[names]]
    shown, as_json, as_csv = (command(*asked, *form) for form in ([], ["--json"], ["--csv"]))
    statuses = {ran.status for ran in (shown, as_json, as_csv)}
    assert len(statuses) == 1 and statuses <= {0, 1}, shown.err + as_json.err + as_csv.err
    assert shown.out.strip()
    told = json.loads(as_json.out)
    rows = list(csv.reader(io.StringIO(as_csv.out)))
    assert rows and all(len(row) == len(rows[0]) for row in rows), rows
    assert told is not None
    both = command(*asked, "--json", "--csv")
    assert (both.status, both.err) == (2, "--json or --csv, not both")


@pytest.mark.parametrize(
    ("asked", "heads"),
    [
        (["keys", "list"], ["name", "source", "status", "scopes"]),
        (["ledger", "verify"], ["problem"]),
        (["keep-warm", "--month", "2020-01"], ["deployment", "policy", "cold_starts_avoided"]),
    ],
    ids=lambda asked: " ".join(asked[:2]),
)
def test_a_report_of_nothing_still_has_its_columns(
    lived: Lived, tmp_path: Path, command: Command, asked: list[str], heads: list[str]
) -> None:
    where = ["--data-dir", tmp_path] if asked[0] == "keys" else ["--config", lived.config]
    ran = command(*asked, "--csv", *where)
    (first,) = csv.reader(io.StringIO(ran.out))
    assert (ran.status, first[: len(heads)]) == (0, heads)


def test_why_it_changed_as_csv(lived: Lived, command: Command) -> None:
    asked = ["cold-starts", "--explain", "--against", "7d", "--config", lived.config]
    found = json.loads(command(*asked, "--json").out)
    rows = list(csv.DictReader(io.StringIO(command(*asked, "--csv").out)))
    assert [row["cause"] for row in rows] == [*found["causes"], "together"]
    assert rows[-1]["change"] == ("" if found["change"] is None else str(found["change"]))


def test_yes_and_no_are_those_of_json(lived: Lived, command: Command) -> None:
    asked = ["prices", "--name", "modal", "--config", lived.config, "--csv"]
    rows = list(csv.DictReader(io.StringIO(command(*asked).out)))
    assert {row["in_force"] for row in rows} <= {"true", "false"} and rows


def money_of(rows: list[dict[str, str]]) -> list[str]:
    """All that is dollars in some rows of CSV."""
    return [value for row in rows for name, value in row.items() if re.search(r"usd$", name)]


@pytest.mark.parametrize(
    "asked",
    [
        ["costs", "--group-by", "deployment", "--group-by", "status"],
        ["operations", "--deployment", "unpriced"],
        ["prices", "explain", "{unpriced}"],
        ["reprice", "--since", "2026-01-01", "--deployment", "unpriced"],
        ["compare", "unpriced"],
    ],
    ids=lambda asked: asked[0],
)
def test_a_cost_that_nobody_knows_is_never_0(
    lived: Lived, command: Command, asked: list[str]
) -> None:
    line = [part.format(**lived.ids) for part in asked]
    where = ["--config", lived.config]
    as_csv = command(*line, "--csv", *where).out
    rows = list(csv.DictReader(io.StringIO(as_csv)))
    known = [row for row in rows if "unpriced" in row.values()]
    told: Any = json.loads(command(*line, "--json", *where).out)
    assert told is not None
    assert known or asked[0] == "reprice"
    amounts = money_of(known)
    if asked[0] in ("costs", "operations", "prices"):
        # A lower bound of 0 is known; what it comes to is not.
        totals = [
            row for row in known for name in row if name in ("usd", "known_usd", "booked_usd")
        ]
        assert totals
        for row in known:
            for name in ("usd", "known_usd", "booked_usd", "recomputed_usd", "line_usd"):
                assert row.get(name, "") == "", (name, row)
    else:
        assert "0" not in [row.get("total_usd") for row in known], amounts
    shown = command(*line, *where).out
    assert "unknown" in shown or "no price" in shown


def test_the_cost_of_imported_jobs_without_a_price_is_unknown(
    lived: Lived, tmp_path: Path, command: Command
) -> None:
    asked = ["import", "csv", *lines(lived, tmp_path)["import", "csv"]]
    (row,) = csv.DictReader(io.StringIO(command(*asked, "--csv").out))
    assert (row["added"], row["unpriced"], row["known_usd"]) == ("1", "1", "")
    own = lines(lived, tmp_path / "other")["import", "csv"]
    assert "Cost of the added: unknown." in command("import", "csv", *own).out
