"""Traces as strangers have them: read for what they are, or refused, with file, line and why."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.commands import refused, run

ASKED = ("--train-share", "0", "--policy", "fixed")
ROWS = ((1_700_000_000.0, "a", 1.5), (1_700_000_060.25, "b", 2.0), (1_700_000_120.5, "a", 0.5))
PLAIN = "timestamp,model,duration\n" + "".join(f"{at},{m},{took}\n" for at, m, took in ROWS)


def traced(path: Path, *arguments: str) -> Any:
    return run("simulate", "--trace", str(path), *ASKED, *arguments)["trace"]


def spelled(
    head: str, at: Callable[[float], str], took: Callable[[float], str] = str, separator: str = ","
) -> str:
    lines = [separator.join((at(when), model, took(lasted))) for when, model, lasted in ROWS]
    return "\n".join((head, *lines)) + "\n"


def iso(zone: timezone | None = UTC, form: str = "") -> Callable[[float], str]:
    def write(at: float) -> str:
        moment = datetime.fromtimestamp(at, zone or UTC)
        moment = moment if zone else moment.replace(tzinfo=None)
        return moment.strftime(form) if form else moment.isoformat()

    return write


SPELLED: dict[str, str | bytes] = {
    "seconds": PLAIN,
    "milliseconds": spelled(
        "Timestamp,Model Name,Latency_ms", lambda at: f"{at * 1e3:.0f}", lambda t: f"{t * 1e3}"
    ),
    "microseconds": spelled(
        "ts,service,duration_us", lambda at: f"{at * 1e6:.0f}", lambda t: f"{t * 1e6:.0f}"
    ),
    "nanoseconds": spelled(
        "startTime,endpoint,durationNs", lambda at: f"{int(at * 1e6)}000", lambda t: f"{t * 1e9}"
    ),
    "a zone": spelled("Time,Model,Duration (s)", iso()),
    "another zone": spelled(
        "created_at,deployment,execution_time", iso(timezone(timedelta(hours=8)))
    ),
    "no zone": spelled("request_time,checkpoint_model_version_id,elapsed", iso(None)),
    "slashes": spelled("Time (UTC),model_id,exec_time_seconds", iso(None, "%Y/%m/%d %H:%M:%S.%f")),
    "seven digits": spelled("TIMESTAMP,function,seconds", iso(None, "%Y-%m-%d %H:%M:%S.%f0")),
    "end": spelled("end_time,model,duration", str)
    .replace("1700000000.0,", "1700000001.5,")
    .replace("1700000060.25,", "1700000062.25,")
    .replace("1700000120.5,", "1700000121.0,"),
    "begin and end": "submit_time,end_time,model\n"
    + "".join(f"{at},{at + took},{model}\n" for at, model, took in ROWS),
    "semicolons": spelled(
        "timestamp;model;duration",
        lambda at: f"{at}".replace(".", ","),
        lambda t: f"{t}".replace(".", ","),
        ";",
    ),
    "a hint": "sep=;\n" + PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "pipes": PLAIN.replace(",", "|"),
    "blanks": PLAIN.replace(",", "  "),
    "quotes": PLAIN.replace("a,", '"a",').replace("b,", '"b",'),
    "blank lines": "\n\n" + PLAIN.replace("\n", "\n\n") + "   \n,,\n",
    "a remark": "# by hand\n" + PLAIN,
    "no last newline": PLAIN.rstrip(),
    "Windows": PLAIN.replace("\n", "\r\n"),
    "out of order": "timestamp,model,duration\n"
    + "".join(f"{at},{m},{took}\n" for at, m, took in reversed(ROWS)),
    "utf-16": PLAIN.replace(",", "\t").encode("utf-16"),
    "a mark": codecs.BOM_UTF8 + PLAIN.encode(),
    "gzip": gzip.compress(PLAIN.encode()),
    "bzip2": bz2.compress(PLAIN.encode()),
    "xz": lzma.compress(PLAIN.encode()),
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_the_same_requests_however_they_are_written(tmp_path: Path, spelling: str) -> None:
    text = SPELLED[spelling]
    path = tmp_path / "trace"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = traced(path)
    assert (found["requests"], found["streams"]) == (3, 2)
    assert found["start_time"] == "2023-11-14T22:13:20.000000Z"
    assert found["end_time"] == "2023-11-14T22:15:20.500001Z"
    assert found["mean_execute_seconds"] == pytest.approx(4 / 3)


OTHERS = {
    "azure 2019": (
        "HashOwner,HashApp,HashFunction,Trigger,1,2,3\no,a,f,http,2,0,1\no,a,g,timer,0,1,0\n",
        (4, 2),
    ),
    "a minute": ("f,1\nx,7\n", (7, 1)),
    "from 0": ("0,1\n2,1\n1,NaN\n", (4, 2)),
    "azure 2021": (
        "app,func,end_timestamp,duration\nx,f,9.5,0.1\ny,f,5,0.2\nx,f,0.1,0.3\n",
        (3, 2),
    ),
    "burstgpt": (
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens"
        ",Log Type\n5,1,2.5,ChatGPT,472,18,490,Chat\n45,2,,GPT-4,1087,230,1317,API log\n",
        (2, 2),
    ),
    "huawei": (
        "time_worker,time_frontend,requestID,funcName,totalCost_worker\n2.5,2.4,7,296,0.02\n",
        (1, 1),
    ),
    "jobs": (
        "job_id,user,type,state,submit_time,start_time,end_time,duration\n"
        "5,u5,Other,FAILED,2023-03-01 00:18:22+08:00,2023-03-01 00:18:54+08:00,,117\n",
        (1, 1),
    ),
    "one behind the other": (PLAIN + PLAIN, (6, 2)),
    "all at once": ("timestamp,model\n" + "5,a\n" * 9, (9, 1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_shapes_of_public_traces(tmp_path: Path, name: str) -> None:
    text, expected = OTHERS[name]
    path = tmp_path / "trace.csv"
    path.write_text(text)
    found = traced(path)
    assert (found["requests"], found["streams"]) == expected


def test_days_in_a_file_each_follow_one_another(tmp_path: Path) -> None:
    days = []
    for number, counts in enumerate(("f,1,0\ng,0,2\n", "g,3,0\n")):
        days.append(tmp_path / f"d{number}.csv")
        days[-1].write_text(f"HashFunction,1,2\n{counts}")
    both = ("--trace", str(days[0]), "--trace", str(days[1]))
    found = run("simulate", *both, *ASKED)["trace"]
    assert (found["requests"], found["streams"]) == (6, 2)
    assert found["days"] == pytest.approx(4 / 1440)
    days[1].write_text(PLAIN)
    assert "are not one trace" in refused("simulate", *both)


def test_whose_a_request_is_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("HashOwner,HashFunction,1,2\no,f,1,0\no,g,2,1\np,h,1,0\n")
    assert traced(path)["streams"] == 3
    assert traced(path, "--by", "hashowner")["streams"] == 2
    assert traced(path, "--by", "HashOwner,HashFunction")["streams"] == 3
    kept = traced(path, "--trace-where", "HashOwner=o")
    assert (kept["streams"], kept["requests"]) == (2, 4)
    assert "has no column 'app', but HashOwner" in refused(
        "simulate", "--trace", str(path), "--by", "app"
    )
    path.write_text("born,took\n1500,250\n2500,250\n")
    found = traced(path, "--column", "instant=born:ms", "--column", "duration=took:ms")
    assert found["days"] * 86_400 == pytest.approx(1) and found["mean_execute_seconds"] == 0.25


def test_durations_that_are_not_known_are_assumed_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("timestamp,model,duration\n1,a,-2\n2,a,\n3,a,NaN\n4,a,5\n")
    found = traced(path, "--execute-seconds", "3")
    assert found["mean_execute_seconds"] == (3 * 3 + 5) / 4
    assert (
        "Of 3 requests no duration is known (1 of them one below 0); 3 s each" in found["notes"][1]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN + "soon,a,1\n", "line 5: 'soon' in the column 'timestamp' is no instant"),
        (PLAIN + "1700000200,a\n", "line 5: it has 2 columns, and the head 3"),
        (PLAIN + "1700000200,a,b,1\n", "line 5: it has 4 columns, and the head 3"),
        (PLAIN + "1700000200,a,quick\n", "line 5: 'quick' in the column 'duration' is no duration"),
        ("timestamp,model\n2024-01-02,a\n", "line 2: '2024-01-02'"),
        ("timestamp,model,count\n1,a,5\n", "stand for as many requests as its column 'count'"),
        ("day,time,0,1,2\n0,0,1,0,5\n", "needs to be the other way round"),
        ("day,time,model\n0,51937.4,a\n", "two columns, 'day' and 'time'"),
        ("1700000000,m,2\n", "no column is called as one of instants is"),
        ("f,1,2\na,1,0\nf,1,2\n", "line 3: the head again"),
        ('{"timestamp": 0}\n', "is JSON"),
        (b"PK\x03\x04rest", "is a ZIP archive or a spreadsheet"),
        (gzip.compress(PLAIN.encode() * 9, mtime=0)[:-20], "is cut short or damaged"),
        (PLAIN.encode() + b"1700000300,caf\xe9,1\n", "is not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refused("simulate", "--trace", str(path))
    assert said in message and str(path) in message
