"""What a user can mend is one message that says so; and every help names the exit statuses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.gateways import COMMAND, ENVIRONMENT
from tests.acceptance.gateways import run as run_program
from tests.cli.conftest import Lived
from tests.cli.running import Ran, commands

Command = Callable[..., Ran]
NEEDS = {
    ("plan",): ["--price", "modal-t4"],
    ("reprice",): ["--since", "2026-01-01"],
    ("simulate",): ["--synthetic", "gpu", "--streams", "1", "--days", "0.1"],
    ("compare",): ["seconds"],
    ("estimate",): ["llama-3-8b"],
    ("prices", "explain"): ["att_0"],
    ("reconcile",): ["--provider", "scripted", "--bill", "nowhere.csv"],
}
ASKS = {("serve",), ("generate",), ("top",), ("prices", "fetch")}  # somebody else
WRITES = {"keys", "import", "ledger"}


def options(command: Any) -> list[str]:
    """Those that take a value."""
    return [
        next(name for name in parameter.opts if name.startswith("--"))
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.is_flag
    ]


def asked_wrongly() -> list[tuple[tuple[str, ...], str]]:
    return [
        (names, option)
        for names, command in commands().items()
        if names not in ASKS and names[0] not in WRITES
        for option in options(command)
        if option not in ("--html", "--frontier", "--save-table", "--data-dir")
    ]


@pytest.mark.parametrize("names", sorted({names for names, _ in asked_wrongly()}), ids=" ".join)
def test_nonsense_gives_a_message_and_no_trace(
    lived: Lived, command: Command, names: tuple[str, ...]
) -> None:
    for option in (option for other, option in asked_wrongly() if other == names):
        given = [part for part in NEEDS.get(names, []) if option not in part]
        if option in NEEDS.get(names, []):
            place = NEEDS[names].index(option)
            given = [*NEEDS[names][:place], *NEEDS[names][place + 2 :]]
        has_config = "--config" in options(commands()[names]) and option != "--config"
        where = ["--config", str(lived.config)] if has_config else []
        ran = command(*names, *given, option, "nonsense!", *where)  # any other error is raised
        assert ran.status in (0, 1, 2)
        assert (ran.status == 2) == bool(ran.err), (option, ran.err)
        assert "Traceback" not in ran.err + ran.out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["costs", "--start-time", "yesterday"], "--start-time is an RFC 3339 time"),
        (["costs", "--end-time", "2020-01-01", "--start-time", "2021-01-01"], "lies before"),
        (["costs", "--bucket-width", "1w"], "bucket_width is one of 1h, 1d, all"),
        (["costs", "--time-zone", "Mars"], "There is no time zone 'Mars'"),
        (["costs", "--group-by", "colour"], "not 'colour'"),
        (["operations", "--verdict", "tepid"], "verdict is one of cold, warm, unknown"),
        (["operations", "--cost-status", "free"], "cost_status is one of"),
        (["charges", "--kind", "rent"], "kind is one of"),
        (["cold-starts", "--explain", "--against", "7x"], "against is a length of time"),
        (["compare", "seconds", "--places", "0.5"], "places is a number from 1"),
        (["compare", "nothing"], "nothing"),
        (["keep-warm", "--month", "May"], "--month is a year and a month"),
        (["plan", "--price", "free-lunch"], "there is no price named 'free-lunch'"),
        (["prices", "explain", "att_0"], "there is no attempt or operation 'att_0'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_messages_name_what_is_to_be_mended(
    lived: Lived, command: Command, asked: list[str], said: str
) -> None:
    ran = command(*asked, "--config", lived.config)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


def test_every_help_names_the_exit_statuses(command: Command) -> None:
    for names in [(), *commands()]:
        told = " ".join(command(*names, "--help").out.split())
        assert "Exit status: 0 it is done; 1 it is done, and something" in told, names


def test_a_file_that_cannot_be_used_is_named(tmp_path: Any) -> None:
    (tmp_path / "file").touch()
    jobs = tmp_path / "jobs.csv"
    jobs.write_text("upstream_id,created_at,model,status\n", encoding="utf-8")
    where = ["--data-dir", tmp_path / "file"]
    ran = run_program("import", "csv", jobs, "--provider", "x", *where)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"gateway: {tmp_path / 'file'} cannot be used (File exists)\n"


def test_who_has_read_enough_sees_no_trace() -> None:
    """As in ``gateway prices | head -1``: nobody reads when the report is written."""
    asked = (["prices", "--json"], ["simulate", "--synthetic", "rare", "--streams", "1"])
    closed, kept = os.pipe()
    os.close(closed)
    started = [
        subprocess.Popen(
            [*COMMAND, *arguments], stdout=kept, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True
        )
        for arguments in asked
    ]
    os.close(kept)
    for process in started:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (1, "")
