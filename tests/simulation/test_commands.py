"""``gateway simulate`` and ``gateway plan`` on traces, the ledger and made-up streams."""

from __future__ import annotations

import json
import xml.etree.ElementTree
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.replaying import price_row
from gateway.settings import Settings
from gateway.warmth.policies.learned import Table
from tests.simulation.commands import refused, run


def test_a_trace_of_requests_is_a_stream_for_each_model(tmp_path: Path) -> None:
    trace = tmp_path / "requests.csv"
    lines = [f"{at},{model},2" for at in range(0, 4000, 400) for model in ("a", "b")]
    trace.write_text("timestamp,model,duration\n" + "\n".join(lines))
    found = run(
        *("simulate", "--trace", str(trace), "--train-share", "0", "--boot-seconds", "10"),
        *("--policy", "fixed", "--window", "300"),
    )
    assert found["trace"]["streams"] == 2
    (fixed,) = found["policies"]
    # 400 s apart, up for 300: each of the twenty boots; each window is whole but for the last two
    assert (fixed["requests"], fixed["cold"], fixed["boots"]) == (20, 20, 20)
    assert fixed["wait_seconds"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0, "mean": 10.0}
    assert fixed["boot_seconds"] == 200 and fixed["busy_seconds"] == 40
    assert fixed["idle_seconds"] == 18 * 300
    (held,) = run(
        *("simulate", "--trace", str(trace), "--train-share", "0", "--boot-seconds", "10"),
        *("--policy", "fixed", "--window", "399"),
    )["policies"]
    assert held["cold"] == 2  # the first of each


def test_money_is_what_the_price_row_bills(tmp_path: Path) -> None:
    trace = tmp_path / "requests.csv"
    trace.write_text("timestamp,duration\n0,2\n1000,2\n5000,2\n")
    asked = ("simulate", "--trace", str(trace), "--train-share", "0", "--policy", "fixed")
    (found,) = run(*asked, "--price", "modal-a100-80gb")["policies"]
    row = price_row(Settings(), "modal-a100-80gb")
    assert row is not None and row.usd_per_second is not None
    seconds = Decimal(str(found["replica_seconds"]))
    assert Decimal(found["total_usd"]) == pytest.approx(seconds * row.usd_per_second)
    assert Decimal(found["idle_usd"]) > Decimal(found["boot_usd"]) > Decimal(found["active_usd"])
    (unpriced,) = run(*asked)["policies"]
    assert unpriced["total_usd"] is None


def test_counts_by_minute_are_a_stream_for_each_line(tmp_path: Path) -> None:
    trace = tmp_path / "minutes.csv"
    minutes = [f"minute_{number}" for number in range(1, 1441)]
    busy = ["3" if number % 30 == 0 else "0" for number in range(1440)]
    quiet = ["1" if number == 7 else "0" for number in range(1440)]
    rows = [["busy", *busy], ["quiet", *quiet]]
    trace.write_text("\n".join(",".join(row) for row in [["HashFunction", *minutes], *rows]))
    found = run("simulate", "--trace", str(trace), "--calls-per-day", "24:1440")
    assert (found["trace"]["streams"], found["trace"]["requests"]) == (1, 144)
    assert run("simulate", "--trace", str(trace))["trace"]["requests"] == 145
    first, again, other = (
        run("simulate", "--trace", str(trace), "--seed", seed)["policies"] for seed in "112"
    )
    assert first == again != other


def test_policies_at_equal_cost_and_the_drawing(tmp_path: Path) -> None:
    drawing = tmp_path / "frontier.svg"
    found = run(
        *("simulate", "--synthetic", "periodic", "--streams", "4", "--days", "1", "--compare"),
        *("--frontier", str(drawing)),
    )
    held = {row["name"]: row for row in found["held"]["policies"]}
    assert held["histogram"]["change"] < held["ski_rental"]["change"] + 0.001
    assert found["held"]["clairvoyant"]["keep_cold"] <= found["held"]["fixed"]["cold"]
    root = xml.etree.ElementTree.fromstring(drawing.read_text())
    lines = [node for node in root if node.tag.endswith("polyline")]
    marks = [node for node in root if node.get("class", "").startswith("m")]
    assert len(lines) == 2 * 3 and len(marks) == 18 + 3  # each in the legend too
    # told apart without colour
    assert len({(node.tag, len(node.get("points", "").split())) for node in marks}) == 3
    assert "http" not in drawing.read_text().replace("http://www.w3.org/2000/svg", "")
    picture = tmp_path / "frontier.png"
    run("simulate", "--synthetic", "rare", "--streams", "1", "--frontier", str(picture))
    with Image.open(picture) as read:
        assert (read.format, read.size) == ("PNG", (1440, 840))
        assert len(read.getcolors(1 << 20) or ()) > 50  # it is not empty
    shown = CliRunner().invoke(
        app, ["simulate", "--synthetic", "gpu", "--streams", "3", "--days", "2", "--compare"]
    )
    assert "cold starts" in shown.stdout and "Who knows every gap" in shown.stdout


def test_routes_stand_beside_each_other() -> None:
    found = run(
        *("simulate", "--synthetic", "gpu", "--streams", "6", "--days", "7", "--providers", "2"),
        *("--boot-seconds", "30", "--boot-sigma", "0.8", "--policy", "fixed"),
    )
    cold = {row["name"]: row["cold_rate"] for row in found["routes"]}
    assert cold["balanced"] == cold["one"] < min(cold["random"], cold["round_robin"])


def test_providers_by_name_bring_their_billing_boots_and_keep_alive() -> None:
    found = run(
        *("simulate", "--synthetic", "gpu", "--streams", "3", "--days", "4", "--policy", "fixed"),
        *("--providers", "modal-l4", "--providers", "modal-a100-80gb"),
    )
    notes = " ".join(found["trace"]["notes"])
    assert "modal-l4: boots of 36.3 s" in notes and "modal-a100-80gb: boots" in notes
    assert "as long at each price" in notes
    usd = {row["name"]: Decimal(row["total_usd"]) for row in found["routes"]}
    assert usd["cheapest"] < usd["priority"] + usd["random"]  # each at its own price
    assert usd["one"] < usd["random"]


def test_durations_of_a_trace_of_tokens(tmp_path: Path) -> None:
    trace = tmp_path / "tokens.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n0,1000,100\n900,0,50\n")
    asked = ("simulate", "--trace", str(trace), "--train-share", "0", "--policy", "fixed")
    (by_tokens,) = run(*asked, "--tokens-per-second", "1000:50")["policies"]
    assert by_tokens["busy_seconds"] == pytest.approx(1 + 2 + 1)
    (assumed,) = run(*asked)["policies"]
    assert assumed["busy_seconds"] == 2  # a second each, and said so


def test_several_replicas_share_a_stream(tmp_path: Path) -> None:
    trace = tmp_path / "requests.csv"
    trace.write_text("timestamp,duration\n" + "\n".join(f"{at},100" for at in range(100)))
    asked = ("simulate", "--trace", str(trace), "--train-share", "0", "--policy", "fixed")
    waits = [
        run(*asked, "--places", "10", "--replicas", count)["policies"][0]["wait_seconds"]["mean"]
        for count in ("1", "4", "20")
    ]
    assert waits[0] > waits[1] > waits[2]


def test_a_table_is_saved_for_a_deployment(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra learn is not installed")
    table = tmp_path / "table.json"
    made = ("--synthetic", "bursty", "--streams", "8", "--days", "4", "--policy", "fixed")
    told = run("simulate", *made, "--save-table", str(table))
    assert "goes by nothing but the plain window: requests" in told["trace"]["notes"][-1]
    read = Table.from_json(json.loads(table.read_text()))
    assert set(read.rates) == {f"bursty-{number}" for number in range(8)}


def test_a_plan_names_the_cheaper_machine_and_says_how_sure_it_is() -> None:
    asked = ("plan", "--price", "modal-a100-80gb", "--price", "modal-l4")
    found = run(*asked, "--synthetic", "gpu", "--streams", "10", "--days", "4")
    assert found["recommended"]["price"] == "modal-l4"
    low, high = (Decimal(usd) for usd in found["interval_usd_per_month"])
    assert 0 < low <= Decimal(found["saving_usd_per_month"]) <= high
    assert found["resampled"] == "deployments"
    assert found["sentence"].count("modal-l4") == found["sentence"].count("modal-a100-80gb") == 1
    assert "as long at each price" in found["notes"][-2]  # an L4 is slower than an A100
    burdens = [Decimal(row["burden_usd_per_month"]) for row in found["candidates"]]
    assert burdens == sorted(burdens) and len(burdens) == 6
    few = run(*asked, "--synthetic", "gpu", "--streams", "2", "--days", "9")
    assert few["resampled"] == "days"
    only = run(
        "plan", "--price", "modal-l4", "--policy", "fixed", *asked[3:3], "--synthetic", "gpu"
    )
    assert only["sentence"].startswith("Nothing beats")
    assert only["boots"][0]["source"] == "provider"
    assert not any("as long at each" in note for note in only["notes"])  # one price: no comparison
    sure = ("--boot-seconds", "20", "--synthetic", "gpu", "--streams", "10", "--days", "4")
    same = run("plan", *asked[3:], *sure)
    assert "fixed at the same price" in same["sentence"] and "modal-l4" not in same["sentence"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "--synthetic", "tides"), "--synthetic is one of"),
        (("simulate", "--synthetic", "gpu", "--policy", "magic"), "--policy is one of"),
        (("simulate", "--synthetic", "gpu", "--price", "none"), "no price named"),
        (("simulate", "--synthetic", "gpu", "--wait-value-usd-per-second", "x"), "no number"),
        (("simulate", "--trace", "/nowhere.csv"), "cannot be read"),
        (("simulate", "--synthetic", "gpu", "--providers", "none"), "--providers: there is no"),
        (("simulate", "--synthetic", "gpu", "--providers", "0"), "--providers is 1 or more"),
        (("simulate", "--synthetic", "gpu", "--tokens-per-second", "5"), "IN:OUT"),
        (("simulate", "--trace", "/nowhere.csv", "--calls-per-day", "5"), "LOW:HIGH"),
        (("plan", "--price", "modal-l4", "--policy", "learned"), "needs a table"),
    ],
)
def test_what_cannot_be_answered_is_refused(arguments: tuple[str, ...], message: str) -> None:
    assert message in refused(*arguments)


def test_an_unused_data_folder_is_no_ledger(tmp_path: Path) -> None:
    assert "there is no ledger" in refused("simulate", "--data-dir", str(tmp_path))
