"""What terminals show, narrow and wide: nothing is cut or folded without a sign."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from gateway.cli.layout import lay_out
from tests.cli.conftest import Lived
from tests.cli.reports import lines
from tests.cli.running import Ran
from tests.cli.test_forms import REPORTS

Command = Callable[..., Ran]
SIGN = "Left out for want of room: "


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("names", REPORTS, ids=" ".join)
def test_every_report_on_a_terminal(
    lived: Lived, tmp_path: Path, command: Command, names: tuple[str, ...], columns: int
) -> None:
    whole = command(*names, *lines(lived, tmp_path / "pipe")[names]).out
    shown = command(*names, *lines(lived, tmp_path / "screen")[names], columns=columns)
    assert shown.status in (0, 1), shown.err
    assert shown.out.strip() and "…" not in shown.out
    for line in shown.out.splitlines():
        assert cell_len(line) <= columns, line
    # Each word of the whole is there, but for columns that are named as left out.
    there = {word.rstrip(":") for word in shown.out.split()}
    words = whole.partition("\n")[2].split()  # a column that is empty may go with its head
    missing = {word.rstrip(":") for word in words if not any(map(str.isdigit, word))} - there
    assert not missing or SIGN in shown.out, missing


@pytest.mark.parametrize("columns", [80, 200])
def test_the_comparison(lived: Lived, command: Command, columns: int) -> None:
    asked = ["compare", "seconds", "--price", "replicate-deployment-gpu-a100-large"]
    out = command(*asked, "--config", lived.config, columns=columns).out
    rows = out.splitlines()
    (head,) = (line for line in rows if line.startswith("candidate "))
    table = rows[rows.index(head) + 1 :]
    (other,) = (line for line in table if line.startswith("replicate-deployment-gpu-a100-large "))
    assert {"candidate", "USD", "p95"} <= set(head.split())  # what it costs, how long it waits
    assert len(other.split()) == len(head.replace(" s", "_s").split())
    assert (SIGN in out) == ("active" not in head) == (columns == 80)


def test_columns_go_in_the_order_that_is_said() -> None:
    heads, rows = ("name", "of", "more", "usd"), [("a" * 10, "b" * 10, "c" * 10, "0.25")]
    assert lay_out(heads, rows, 40).head is not None
    narrow = lay_out(heads, rows, 30, ("more", "of"))
    assert narrow.left_out == ("more",)
    assert narrow.head is not None and narrow.head.split() == ["name", "of", "usd"]
    assert lay_out(heads, rows, 20, ("more", "of")).left_out == ("more", "of")


def test_where_no_column_may_go_each_row_has_lines_of_its_own() -> None:
    laid = lay_out(("name", "of", "usd"), [("a" * 10, "b" * 40, ""), ("c", "d", "1")], 30)
    assert laid.head is None and laid.left_out == ()
    assert laid.lines == ("a" * 10, "  of: " + "b" * 24, "    " + "b" * 16, "c  of: d  usd: 1")


def test_wide_letters_take_two_places() -> None:
    laid = lay_out(("name", "usd"), [("模型", "1"), ("ab", "2")], 20)
    assert laid.lines == ("模型 1", "ab   2")
