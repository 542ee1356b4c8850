"""``gateway reconcile``: each difference gets its name, or the exit status 1."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.ledger.care.inspect import verify
from gateway.ledger.writing.imports import ImportJournal
from gateway.reconciliation.statements import Statements
from gateway.settings import ConfigError
from tests.ledger.samples import NOON_US, idle_charge
from tests.reconciliation.bills import (
    H100,
    HOUR_US,
    L40S,
    bill_of,
    day,
    groups,
    modal_bill,
    ran,
    reconciled,
)
from tests.reconciliation.rows import broken_off, price


def test_jobs_that_match_are_told_in_one_line(tmp_path: Path) -> None:
    rows = [ran(number, f"{number + 1}.5", hours=number) for number in range(5)]
    lines = [
        f"job-{n},{day(f'22T{12 + n}:00')},owner/model,{Decimal(f'{n + 1}.5') * L40S}"
        for n in range(5)
    ]
    said = reconciled(tmp_path, rows, bill_of(*lines))
    assert (said["by"], said["matched"], said["different"]) == ("jobs", 5, 0)
    (group,) = said["groups"]
    assert (group["what"], group["jobs"], group["verdict"]) == ("owner/model", 5, "matched")
    assert said["bill_usd"] == said["ledger_usd"] == "0.0170625"
    assert said["difference_percent"] == "+0.00"
    kept = Statements(tmp_path / "data").through("replicate")
    assert kept == (said["until"], "+0.00")
    assert verify(tmp_path / "data") == []


def test_an_estimate_is_matched_within_its_error_bar_and_a_cent_is_only_a_cent(
    tmp_path: Path,
) -> None:
    rows = [broken_off(0), broken_off(1), ran(2, "4.9")]
    lines = ["job-0,,m,0.5", "job-1,,m,1.5", "job-2,,m,0.00"]
    period = ("--since", day("22T00:00"), "--until", day("23T00:00"))
    said = reconciled(tmp_path, rows, bill_of(*lines), *period, status=1)
    assert (said["matched"], said["different"], said["unexplained"]) == (2, 1, 1)
    different = groups(said)["job-1"]
    assert (different["low_usd"], different["high_usd"]) == ("0", "0.8775")
    assert different["name"] is None


def test_what_a_bill_puts_on_no_job_is_held_against_the_charges(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with ImportJournal(data_dir) as journal:
        charge = idle_charge(provider="replicate", period_start_at_us=NOON_US + HOUR_US)
        adjustment = idle_charge(1, provider="replicate", kind="adjustment")
        journal.write([], [charge, adjustment])
    lines = [f"job-0,{day()},m,0.00195", f",{day('22T14:00')},idle,0.006"]
    said = reconciled(tmp_path, [ran(0, "2")], bill_of(*lines))
    assert groups(said)["what the bill puts on no job"]["verdict"] == "matched"
    said = reconciled(tmp_path, [], bill_of(*lines).replace(",0.006", ",0.007"), status=1)
    assert said["unexplained_usd"] == "0.001"


def test_another_price_is_told_by_one_ratio_throughout(tmp_path: Path) -> None:
    rows = [ran(number, f"{number + 1}.5") for number in range(3)]
    lines = [f"job-{n},{day()},m,{Decimal(f'{n + 1}.5') * Decimal('0.001170')}" for n in range(3)]
    said = reconciled(tmp_path, rows, bill_of(*lines))
    assert set(said["named_usd"]) == {"price row"}
    assert said["difference_percent"] == "+20.00"
    detail = groups(said)["job-0"]["detail"]
    assert "1.2 times" in detail and "0.00117 for one, not 0.000975" in detail
    assert "replicate-gpu-l40s@2026-05-07" in detail


def test_what_only_one_side_knows(tmp_path: Path) -> None:
    rows = [ran(0, "2"), ran(1, "3", hours=1), ran(2, "4", hours=60), ran(3, "5", hours=61)]
    rows[3] = replace(rows[3], status="failed")
    lines = [
        f"job-0,{day('20T12:00')},m,0.00195",
        f"stranger,{day('20T13:00')},other/model,0.50",
        f",{day('29T12:00')},VAT 19 %,0.10",
    ]
    said = reconciled(tmp_path, rows, bill_of(*lines), status=1)
    found = groups(said)
    assert found["stranger"]["name"] == "traffic that did not pass here"
    assert "other/model" in found["stranger"]["detail"]
    assert found["VAT 19 %"]["name"] == "tax or credit"
    assert (found["job-3"]["verdict"], found["job-3"]["name"]) == ("gateway_only", "not billed")
    assert (found["job-2"]["verdict"], found["job-2"]["name"]) == ("gateway_only", None)
    assert said["unexplained"] == 2  # job-1 and job-2: nothing says why they are not billed
    edge = reconciled(tmp_path, [], bill_of(*lines), "--until", day("23T00:00"), status=0)
    assert groups(edge)["job-1"]["name"] == "period or time zone"


def test_modals_own_report_by_app_and_day(tmp_path: Path, modal: tuple[str, ...]) -> None:
    rows = [ran(0, "1000", **H100), ran(1, "2000", hours=24, **H100), ran(2, "5", hours=25, **H100)]
    bill = modal_bill(("my-app", "22", "0.975"), ("my-app", "23", "2.1"), ("batch", "23", "7"))
    said = reconciled(tmp_path, rows, bill, *modal)
    assert (said["by"], said["until"]) == ("sums", "2026-11-24T00:00:00.000000Z")
    by_day = {(group["what"], group["period"][:10]): group for group in said["groups"]}
    assert by_day["my-app", "2026-11-22"]["verdict"] == "matched"
    idle = by_day["my-app", "2026-11-23"]
    assert (idle["name"], idle["difference_usd"]) == ("idle or standing", "0.145125")
    assert idle["detail"] == "148.8 s at 0.000975 USD"
    assert by_day["batch", "2026-11-23"]["name"] == "traffic that did not pass here"


def test_runpods_answer_by_endpoint_and_hour(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yml"
    config.write_text(
        """
providers: {runpod: {api_key: rpa_x}}
deployments:
  words: {provider: runpod, model: m, endpoint: 4m7x2k9q, price: runpod-l40s}
models: {words: {deployments: [words]}}
"""
    )
    l40s = {**H100, "provider": "runpod", "deployment": "words", "price": price("runpod-l40s")}
    record = {
        "startTime": "2026-11-22T12:00:00Z",
        "endTime": "2026-11-22T13:00:00Z",
        "serverlessId": "4m7x2k9q",
        "totalAmount": 1.075,
        "gpuAmount": 0.975,
        "cpuAmount": 0,
        "diskAmount": 0.02,
        "feeAmount": 0.08,
    }
    answer = {"records": [record], "metadata": {"recordCount": 1}}
    given = ("--provider", "runpod", "--config", str(config))
    said = reconciled(tmp_path, [ran(0, "1000", **l40s)], json.dumps(answer), *given)
    (group,) = said["groups"]
    assert (group["what"], group["verdict"], group["bill_usd"]) == ("4m7x2k9q", "matched", "0.975")
    whole = ("--map", "totalAmount=cost_usd", "--map", "serverlessId=model")
    times = ("--map", "startTime=start_time", "--map", "endTime=end_time")
    said = reconciled(tmp_path, [], json.dumps(answer), *given, *whole, *times)
    (group,) = said["groups"]
    assert (group["name"], group["difference_usd"]) == ("idle or standing", "0.1")


def test_more_than_one_machine_could_idle_has_no_name(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    rows = [ran(0, "1000", **H100), ran(1, "1000", hours=24, **H100)]
    bill = modal_bill(("my-app", "22", "0.975"), ("my-app", "23", "200"))
    said = reconciled(tmp_path, rows, bill, *modal, status=1)
    assert said["unexplained"] == 1


def test_a_bill_by_another_clock(tmp_path: Path, modal: tuple[str, ...]) -> None:
    rows = [
        ran(0, "1000", hours=11, **H100),  # 23:00 of the 22nd in UTC, already the 23rd at UTC+2
        ran(1, "100", hours=0, **H100),
        ran(2, "300", hours=14, **H100),
    ]
    bill = modal_bill(("my-app", "22", "0.0975"), ("my-app", "23", "1.2675"))
    said = reconciled(tmp_path, rows, bill, *modal)
    assert {group["name"] for group in said["groups"]} == {"period or time zone"}
    assert "UTC+1 h" in said["groups"][0]["detail"]
    assert said["difference_usd"] == "0"


def test_the_same_seconds_at_another_price(tmp_path: Path) -> None:
    rows = [ran(0, "1000")]
    header = "model,sku,start_time,end_time,quantity,cost_usd"
    bill = bill_of(
        f"owner/model,gpu-l40s,{day('22T00:00')},{day('23T00:00')},1000,$1.17", header=header
    )
    said = reconciled(tmp_path, rows, bill, "--until", day("23T00:00"))
    (group,) = said["groups"]
    assert group["name"] == "price row"
    assert "the bill says 0.00117 USD a second, the ledger 0.000975" in group["detail"]


@pytest.mark.parametrize(
    ("bill", "options", "words"),
    [
        ("id,amount\nx,1\n", (), "Replicate's invoices are PDF files"),
        ("id,amount\nx,1\n", ("--map", "id=nonsense"), "it is COLUMN=one of cost_usd"),
        ("id,amount\nx,1\n", ("--map", "price=cost_usd"), "the columns are id, amount"),
        ("id,amount\nx,1\n", ("--map", "id=job_id"), "no column is the amount"),
        ("job_id,cost_usd\nx,free\n", (), "line 2: cost_usd: 'free' is no amount"),
        ("job_id,cost_usd,currency\nx,1,EUR\n", (), "only USD can be compared, not EUR"),
        ("job_id,cost_usd\nx,1\n", (), "give --since and --until"),
        ("job_id,cost_usd\n", (), "the bill has no lines"),
        (
            "job_id,start_time,cost_usd\nx,2026-11-01,1\n",
            ("--since", day()),
            "no line begins within",
        ),
        ("", ("--by", "guess"), "jobs or sums"),
        ("job_id,start_time,cost_usd\nx,2026-11-01,1\n", ("--apply",), "compare --by sums"),
    ],
)
def test_what_cannot_be_read_is_said(
    tmp_path: Path, bill: str, options: tuple[str, ...], words: str
) -> None:
    (tmp_path / "data/journal").mkdir(parents=True)
    (tmp_path / "bill.csv").write_text(bill)
    given = ["--bill", str(tmp_path / "bill.csv"), "--data-dir", str(tmp_path / "data")]
    result = CliRunner().invoke(app, ["reconcile", *given, "--provider", "replicate", *options])
    assert isinstance(result.exception, ConfigError) and words in str(result.exception)


def test_a_table_for_people_and_columns_by_name(tmp_path: Path) -> None:
    data_dir, path = tmp_path / "data", tmp_path / "bill.json"
    with ImportJournal(data_dir) as journal:
        journal.write([ran(0, "2")])
    path.write_text('[{"Prediction": "job-0", "When": "2026-11-22T12:00:00Z", "Total": 0.00195}]')
    given = ["--bill", str(path), "--data-dir", str(data_dir), "--provider", "replicate"]
    named = ["--map", "Prediction=job_id", "--map", "When=start_time", "--map", "Total=cost_usd"]
    result = CliRunner().invoke(app, ["reconcile", *given, *named])
    assert result.exit_code == 0, result.output
    assert "1 matched, 0 provider only, 0 gateway only, 0 different." in result.output
    assert "Bill 0.00195 USD, ledger 0.00195 USD" in result.output
