"""Each command as a user runs it, against what a data folder has lived through."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import re
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli import app
from tests.acceptance.conftest import Here, Past
from tests.acceptance.gateways import COMMAND, Gateway, Ran, run, run_all, until
from tests.acceptance.terminal import Terminal, tmux

Commands = dict[str, Ran]


@pytest.fixture(scope="module")
def reports(past: Past) -> Commands:
    """Each report on the same past, in one form; the commands run side by side."""
    where = ["--data-dir", str(past.data_dir)]
    asked = [
        "costs",
        "cold-starts --json",
        "ledger info",
        "ledger verify",
    ]
    done = run_all([[*command.split(), *where] for command in asked])
    return dict(zip(asked, done, strict=True))


def good(ran: Ran) -> str:
    assert (ran.status, ran.err) == (0, "")
    return ran.out


def test_costs(reports: Commands, past: Past) -> None:
    head, row = good(reports["costs"]).splitlines()
    assert head.split() == ["attempts", "known", "USD", "estimated", "at", "most", "unpriced"]
    attempts, known_usd, estimated_usd, at_most, unpriced = row.split()
    # cold, warm, broken off, the last stream; without a price: one good, two failed.
    assert (attempts, unpriced, at_most) == ("7", "3", "unknown")
    operations = [*past.answers[:2], past.afterwards, past.last_events[-1][1]]
    costs = [Decimal(operation["cost"]["total_usd"]) for operation in operations]
    assert Decimal(known_usd) == sum(costs)
    assert Decimal(estimated_usd) == costs[2]


def test_costs_as_json(here: Here, past: Past) -> None:
    asked = here("costs", "--json", "--group-by", "tag:team", "--data-dir", past.data_dir)
    rows = json.loads(good(asked))
    teams = {row["group"]["tag:team"]: row for row in rows}
    assert teams.keys() == {"search", None}
    known_usd = sum(Decimal(answer["cost"]["total_usd"]) for answer in past.answers[:2])
    assert Decimal(teams["search"]["known_usd"]) == known_usd
    assert teams["search"]["unknown_attempts"] == 0


def test_costs_as_csv(here: Here, past: Past) -> None:
    groups = ["--group-by", "deployment", "--group-by", "status"]
    out = good(here("costs", "--csv", *groups, "--data-dir", past.data_dir))
    rows = {(row["deployment"], row["status"]): row for row in csv.DictReader(io.StringIO(out))}
    assert rows.keys() == {
        ("local-smollm2", "succeeded"),
        ("local-smollm2", "interrupted"),
        ("unpriced", "succeeded"),
        ("failing", "failed"),
    }
    for deployment, status in (("unpriced", "succeeded"), ("failing", "failed")):
        row = rows[deployment, status]
        # Unknown is empty, never 0.
        assert (row["known_usd"], row["measured_usd"], row["high_usd"]) == ("", "", "")
        assert row["unknown_attempts"] == row["attempts"] != "0"
    interrupted = rows["local-smollm2", "interrupted"]
    assert interrupted["measured_usd"] == "0"
    assert interrupted["known_usd"] == interrupted["estimated_usd"] != ""
    assert Decimal(interrupted["high_usd"]) > Decimal(interrupted["low_usd"]) == 0


def test_costs_as_bars(here: Here, past: Past) -> None:
    groups = ["--group-by", "deployment", "--plot"]
    out = good(here("costs", *groups, "--data-dir", past.data_dir))
    bars = out[out.index("known USD, 0 to") :].splitlines()
    rows = {line.split()[0]: line for line in bars[1:]}
    assert rows.keys() == {"local-smollm2", "unpriced", "failing"}
    assert "█" * 32 in rows["local-smollm2"] and "?" not in rows["local-smollm2"]
    assert rows["unpriced"].split()[1:] == ["?", "unknown"]


@pytest.mark.parametrize("columns", [80, 200])
def test_plots_on_a_terminal(past: Past, tmp_path: Path, columns: int) -> None:
    where = ["--data-dir", str(past.data_dir)]
    asked = ("costs --group-by deployment --plot", "cold-starts --plot")
    program = tmux()
    with contextlib.ExitStack() as stack:
        shown = []
        for number, command in enumerate(asked):
            socket = tmp_path / f"{number}.tmux"
            terminal = Terminal(program, socket, columns, [*COMMAND, *command.split(), *where])
            stack.callback(terminal.end)
            shown.append(terminal)
        for terminal in shown:
            until(lambda seen=terminal: "ended 0" in seen.seen(), 30)  # type: ignore[misc]
            lines = terminal.seen().splitlines()
            assert max(map(len, lines)) <= columns
            drawn = [line for line in lines if line.startswith("local-smollm2 ")]
            assert len(drawn) == 2  # of the table, and of the bars: neither is folded
            assert "█" in drawn[1] and drawn[1].rstrip()[-1].isdigit()
            (unknown,) = (line for line in lines if line.startswith("unpriced") and "?" in line)
            assert "unknown" in unknown
            begin = lines.index(drawn[1])
            assert lines[begin + 1].startswith("unpriced")


def test_days_on_a_narrow_terminal(past: Past, tmp_path: Path) -> None:
    command = [*COMMAND, "costs", "--group-by", "deployment", "--bucket-width", "1d"]
    terminal = Terminal(tmux(), tmp_path / "tmux", 80, [*command, "--data-dir", str(past.data_dir)])
    with contextlib.ExitStack() as stack:
        stack.callback(terminal.end)
        until(lambda: "ended 0" in terminal.seen(), 30)
        rows = [line for line in terminal.seen().splitlines() if " local-smollm2 " in line]
    known_usd = sum(Decimal(row.split()[3]) for row in rows)  # neither is folded
    operations = [*past.answers[:2], past.afterwards, past.last_events[-1][1]]
    assert known_usd == sum(Decimal(operation["cost"]["total_usd"]) for operation in operations)


def test_the_other_reports_as_csv(here: Here, past: Past, config: Path) -> None:
    where = ["--csv", "--config", config, "--data-dir", past.data_dir]
    warmth = list(csv.DictReader(io.StringIO(good(here("warmth", *where)))))
    (local,) = (row for row in warmth if row["deployment"] == "local-smollm2")
    # It was used a moment before, and has ended with the gateway that ran it.
    assert (local["stands"], local["last_seen_by"]) == ("off", "process")
    assert {row["source"] for row in warmth} == {"ledger"}
    assert float(local["boot_seconds_p50"]) > 0 and local["evidence_cold"] == "2"
    (header,) = good(here("keep-warm", *where)).splitlines()  # nothing is kept
    assert header.startswith("deployment,policy,")
    made = ["simulate", "--synthetic", "gpu", "--streams", "2", "--days", "1", "--csv"]
    tried = list(csv.DictReader(io.StringIO(good(here(*made)))))
    assert [row["name"] for row in tried] == ["fixed", "ski_rental", "histogram"]
    assert float(tried[0]["wait_seconds_p95"]) >= 0


def test_a_running_gateway_is_asked_how_its_deployments_stand(
    here: Here, gateway: Gateway, config: Path
) -> None:
    where = ["--config", config, "--data-dir", gateway.data_dir]
    gateway.generate("quick")
    rows = {row["deployment"]: row for row in json.loads(good(here("warmth", "--json", *where)))}
    told = {row["name"]: row for row in gateway.get("/v1/deployments")["data"]}
    assert list(rows) == list(told)
    assert rows["quick"]["stands"] == told["quick"]["stands"] == "warm"
    seen = {name: (row["last_seen"] or {}).get("by") for name, row in rows.items()}
    assert (seen["quick"], seen["steady"]) == ("attempt", "process")
    assert {row["source"] for row in rows.values()} == {"gateway"}
    assert f"As the gateway at {gateway.url} sees it now." in good(here("warmth", *where))


def test_cold_starts(reports: Commands, here: Here, past: Past) -> None:
    (row,) = (
        row
        for row in json.loads(good(reports["cold-starts --json"]))
        if row["group"]["deployment"] == "local-smollm2"
    )
    assert (row["attempts"], row["cold"], row["warm"], row["boots"]) == (4, 2, 1, 2)
    assert row["unknown"] == 1  # of the one that was broken off nothing is known
    assert row["boot_seconds"]["p50"] > 0
    table = good(here("cold-starts", "--data-dir", past.data_dir))
    assert "local-smollm2: " in table and "process_started 2" in table
    out = good(here("cold-starts", "--csv", "--data-dir", past.data_dir))
    first = next(csv.DictReader(io.StringIO(out)))
    assert first["deployment"] == "failing" and first["boot_p50"] == ""


def test_ledger_info(reports: Commands, here: Here, past: Past) -> None:
    found = json.loads(good(here("ledger", "info", "--json", "--data-dir", past.data_dir)))
    assert found["lag_bytes"] == 0
    assert found["rows"]["attempts"] == 7
    assert found["unpriced_attempts"] == 3
    assert f"{found['known_usd']}\n" in good(reports["ledger info"]).replace(" ", "")


def test_ledger_verify(reports: Commands, past: Past, tmp_path: Path) -> None:
    assert good(reports["ledger verify"]) == "The ledger is sound.\n"
    forged = tmp_path / "forged"
    shutil.copytree(past.data_dir, forged)
    with sqlite3.connect(forged / "ledger.sqlite3") as database:
        database.execute("update attempts set cost_pico_usd = cost_pico_usd / 2")
    database.close()
    found = run("ledger", "verify", "--data-dir", forged)
    assert (found.status, found.err) == (1, "")
    assert found.out.splitlines()[-1].endswith(" problems")
    assert "money: " in found.out


def test_ledger_backup_export_migrate_prune(here: Here, past: Past, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    done = here("ledger", "backup", copy, "--data-dir", past.data_dir)
    assert done.status == 0 and done.out.endswith(f"bytes are in {copy}.\n")
    assert "ledger.sqlite3" in done.err
    again = here("ledger", "backup", copy, "--data-dir", past.data_dir)
    assert again.status == 2 and again.err == f"gateway: {copy} is there already\n"

    out = good(here("ledger", "export", "--data-dir", copy))
    assert len(list(csv.DictReader(io.StringIO(out)))) == 7
    bill = tmp_path / "bill.csv"
    done = here("ledger", "export", "--format", "focus", "-o", bill, "--data-dir", copy)
    assert (done.status, done.out) == (0, "")
    with bill.open() as file:
        found = list(csv.DictReader(file))
    assert {row["x_ColdStart"] for row in found} == {"cold", "warm", "unknown"}
    done = here("ledger", "export", "--format", "xml", "--data-dir", copy)
    assert done.status == 2 and done.err == "gateway: --format is csv or focus\n"

    assert "up to date; 0 rows" in good(here("ledger", "migrate", "--data-dir", copy))
    said = good(here("ledger", "prune", "--keep-days", "400", "--data-dir", copy))
    assert said.startswith("0 months and 0 further rows before ")
    assert good(here("ledger", "verify", "--data-dir", copy)) == "The ledger is sound.\n"
    refused = (["--before", "May"], ["--before", "2099-01"])
    for given in (*refused, ["--before", "2026-01", "--keep-days", "9"]):
        assert here("ledger", "prune", *given, "--data-dir", copy).status == 2


BILL = re.compile(
    r"^\d+ \+ 8 tokens \| \$0\.\d+ \(measured\) \| (warm|cold) \(\w+\).* \| \d+\.\d\d s \| \S+$"
)


def test_generate_at_a_running_gateway(gateway: Gateway, steady: Any) -> None:
    asked = ["generate", "Why is the sky blue?", "--max-output-tokens", "8"]
    said, free, missing, nowhere = run_all(
        [
            [*asked, "--model", "steady", "--url", gateway.url],
            [*asked, "--model", "unpriced", "--url", gateway.url],
            [*asked, "--model", "nope", "--url", gateway.url],
            [*asked, "--url", "http://127.0.0.1:1"],
        ]
    )
    assert said.status == 0
    assert len(said.out.split()) > 3
    assert BILL.match(said.err) and said.err.endswith("| steady\n")
    assert free.status == 0
    assert "| cost unknown |" in free.err and "$0" not in free.err
    assert (missing.status, missing.out) == (1, "")
    assert missing.err == "gateway: No model of this name is configured. (model_not_found)\n"
    assert (nowhere.status, nowhere.out) == (2, "")
    assert nowhere.err == "gateway: no answer from http://127.0.0.1:1 (ConnectError)\n"


def test_generate_where_no_gateway_runs(tmp_path: Path, config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        said = run(
            *("generate", "Why is the sky blue?", "--max-output-tokens", "8"),
            *("--config", config, "--data-dir", tmp_path / "data"),
            GATEWAY__SERVER__PORT=str(taken.getsockname()[1]),
        )
    assert said.status == 0, said.err
    booting, bill = said.err.splitlines()
    assert booting == "booting ..."
    assert BILL.match(bill) and "| cold (process_started), boot " in bill
    assert len(said.out.split()) > 3


def test_check_and_providers(config: Path, here: Here) -> None:
    checked, listed = map(
        good, run_all([["check", "--config", config], ["providers", "--config", config]])
    )
    assert checked.splitlines()[-1] == "The configuration is sound."
    assert re.search(r"^smollm2 +local-smollm2 +local +smollm2-135m-instruct", checked, re.M)
    assert re.search(r"^unpriced +unpriced +quick +warm +unknown", checked, re.M)
    assert re.search(r"^local +serverless-inference-gateway +yes +emulator and real", listed, re.M)
    assert "groq" not in listed
    assert "groq" in good(here("providers", "--presets"))


def test_keys(tmp_path: Path, here: Here) -> None:
    made, none = map(
        good,
        run_all(
            [
                ["keys", "create", "--name", "ci", "--scope", "generate", "--for-config"],
                ["keys", "list", "--data-dir", tmp_path],
            ],
        ),
    )
    assert none == "There are no keys.\n"
    (key,) = re.findall(r"sig_[\w-]{40,}", made)
    config = tmp_path / "gateway.yml"
    config.write_text(made[made.index("auth:") :])  # as it says: put this into the configuration
    digest = hashlib.sha256(key.encode()).hexdigest()
    listed = good(here("keys", "list", "--config", config, "--data-dir", tmp_path))
    head, row = listed.splitlines()
    assert head.split() == [*"name scopes status expires models budgets from sha256".split()]
    assert row.split() == [
        *("ci", "generate", "active", "never", "all", "none", "configuration"),
        f"{digest[:8]}...",
    ]


def test_what_a_user_can_mend_is_one_message(
    gateway: Gateway,
    past: Past,
    tmp_path: Path,
    here: Here,
) -> None:
    def written(text: str) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yml"
        path.write_text(text)
        return path

    deployment = "deployments: {x: {provider: %s, model: m%s}}"
    (tmp_path / "file").touch()
    cases: list[tuple[list[str | Path], str]] = [
        (["check", "-c", tmp_path / "none.yml"], "none.yml: cannot be read"),
        (["check", "-c", written("a: [")], "not valid YAML: line 1, column 5: "),
        (["check", "-c", written("servre: {}")], "servre: unknown key"),
        (["check", "-c", written("server: {port: many}")], "server.port: "),
        (["check", "-c", written("server: {host: '${NO_SUCH}'}")], "NO_SUCH is not set"),
        (["check", "-c", written(deployment % ("nobody", ""))], "no provider plugin named"),
        (["check", "-c", written(deployment % ("local", ""))], "neither a .gguf file"),
        (
            ["check", "-c", written(deployment % ("groq", ", price: nothing"))],
            "no price named 'nothing'",
        ),
        (["serve", "--port", str(gateway.port), "--data-dir", tmp_path / "d"], "cannot listen on"),
        (["serve", "--port", "0", "--data-dir", gateway.data_dir], "another gateway is using"),
        (["serve", "--port", "0", "--data-dir", tmp_path / "file"], "cannot be used"),
        (["costs", "--data-dir", tmp_path / "none"], "there is no ledger in"),
        (["ledger", "verify", "--data-dir", tmp_path / "none"], "there is no ledger in"),
        (["costs", "--group-by", "colour", "--data-dir", past.data_dir], "not 'colour'"),
        (["costs", "--json", "--csv", "--data-dir", past.data_dir], "--json or --csv"),
        (["keys", "create", "--name", "x", "--scope", "god"], "scopes.0: "),
    ]
    for command, message in cases:
        ran = here(*command)
        assert (ran.status, ran.out) == (2, ""), (command, ran)
        (line,) = ran.err.splitlines()
        assert line.startswith("gateway: ") and message in line, (command, ran)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The command and all below it, with the words that lead to each."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_names_every_option(path: tuple[str, ...]) -> None:
    command = ALL[path]
    said = CliRunner().invoke(app, [*path, "--help"])
    assert said.exit_code == 0
    options = [name for option in command.params for name in option.opts if name.startswith("--")]
    for name in (*options, "--help"):
        assert re.search(rf"^  (-\w, )?{name}\b", said.output, re.M), name
    for name in getattr(command, "commands", {}):
        assert re.search(rf"^  {name} +\w", said.output, re.M), name
    assert all(getattr(option, "help", None) for option in command.params)


def test_it_says_which_it_is() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert said.exit_code == 0
    assert said.output == f"gateway {version('serverless-inference-gateway')}\n"


def test_help_in_a_terminal_of_its_own() -> None:
    bare, asked = run_all([[], ["--help"]])
    assert good(asked).split() == CliRunner().invoke(app, ["--help"]).output.split()
    assert bare.status == 2 and "Commands:" in bare.out + bare.err
