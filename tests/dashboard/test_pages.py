"""What the pages say: the reports' figures, escaped, and unknown where they say unknown."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from gateway.http.dashboard.figures import seconds, usd
from gateway.ledger.reports.cost_report import added_up
from tests.dashboard.conftest import SCRIPT_TAG
from tests.gateway_app.gateways import Gateway, eventually, running_gateway

PAGES = (
    *("", "/cost", "/operations", "/charges", "/cold-starts", "/keep-warm"),
    *("/compare?model=tokens", "/playground", "/prices?name=config"),
)
POLICY = "default-src 'self'"


class _Page(HTMLParser):
    """The parts of a page that could load or run something, and its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.rows: list[list[str]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = tag
        for name, value in given.items():
            if name in ("href", "src", "action") and value is not None:
                self.addresses.append(value)
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1] += data.strip()


def page_of(gateway: Gateway, path: str, **params: Any) -> str:
    answer = gateway.http.get(f"/dashboard{path}", params=params or None)
    assert answer.status_code == 200, answer.text
    return answer.text


def csv_of(gateway: Gateway, name: str, **params: Any) -> list[dict[str, str]]:
    answer = gateway.http.get(f"/dashboard/{name}.csv", params=params)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize("path", [*PAGES, "/nothing"])
def test_every_page_holds_the_browser_to_this_server(
    shown: Gateway, ids: dict[str, str], path: str
) -> None:
    for answer in (
        shown.http.get(f"/dashboard{path}"),
        shown.http.get(f"/dashboard/operations/{ids['cold']}"),
    ):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith(POLICY) and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        page = _Page(answer.text)
        assert page.inline == []
        assert not [a for a in page.addresses if re.match(r"[a-z]+:|//|/", a)]  # all relative
        assert '<html lang="en">' in answer.text and "<h1>" in answer.text


def test_links_lead_somewhere(shown: Gateway, ids: dict[str, str]) -> None:
    begin = [f"/dashboard{path}" for path in (*PAGES, f"/operations/{ids['fallback']}")]
    seen: set[str] = set()
    for path in begin:
        answer = shown.http.get(path)
        for address in _Page(answer.text).addresses:
            url = answer.url.join(unescape(address))
            if str(url) not in seen and not re.search("/(un)?cordon|/warm", url.path):
                seen.add(str(url))
                got = shown.http.get(url, follow_redirects=True)
                assert got.status_code == 200, (path, address)
    assert len(seen) > 30


def test_a_value_is_the_same_everywhere(shown: Gateway, ids: dict[str, str]) -> None:
    operation = shown.operation(ids["cold"])
    total = operation["cost"]["total_usd"]
    listed = {row["id"]: row for row in csv_of(shown, "operations")}
    assert listed[ids["cold"]]["cost_usd"] == total
    page = page_of(shown, f"/operations/{ids['cold']}")
    assert usd(total) in page and ">cold<" in page and "process_started" in page
    for line in operation["cost"]["lines"]:
        assert line["kind"] in page and line["quantity"] in page and line["price_id"] in page
    report = shown.get("/v1/costs", group_by="deployment")["data"]
    for row in csv_of(shown, "cost", group_by="deployment"):
        (same,) = [r for r in report if r["group"]["deployment"] == row["deployment"]]
        if row["deployment"] != "unpriced":
            assert row["known_usd"] == same["known_usd"]
            parts = [row[f"{part}_usd"] for part in ("active", "boot", "idle", "fees", "other")]
            assert sum(map(Decimal, parts)) == Decimal(same["known_usd"])


@pytest.mark.parametrize("group_by", ["deployment", "status", "tag:nth"])
def test_rows_added_up_are_the_report_of_all(
    shown: Gateway, ids: dict[str, str], group_by: str
) -> None:
    (whole,) = shown.get("/v1/costs")["data"]
    rows = shown.get("/v1/costs", group_by=group_by, bucket_width="1h")["data"]
    assert len(rows) > 1
    assert added_up(rows) == {name: whole[name] for name in added_up(rows)}
    assert whole.keys() - added_up(rows).keys() == {"group", "start_time", "end_time"}


def test_unknown_is_not_0(shown: Gateway, ids: dict[str, str]) -> None:
    page = _Page(page_of(shown, "/cost", group_by="deployment"))
    (row,) = [row for row in page.rows if row and row[0] == "unpriced"]
    assert row[2:7] == ["unknown"] * 5 and "1" in row
    assert any("for idle time" in heads and "for other" not in heads for heads in page.rows)
    (told,) = csv_of(shown, "cost", group_by="deployment", deployment="unpriced")
    assert told["known_usd"] == told["idle_usd"] == told["other_usd"] == told["high_usd"] == ""
    only = page_of(shown, "/cost", deployment="unpriced")
    assert "1 of 1 attempts" in only and "$0<" not in only
    one = page_of(shown, f"/operations/{ids['unpriced']}")
    assert re.search(r"<b><a [^>]*>unknown</a></b>", one) and "No price was known" in one


def test_what_callers_say_is_escaped(shown: Gateway, ids: dict[str, str]) -> None:
    for path in ("/operations", f"/operations/{ids['tagged']}", "/cost?group_by=tag:x"):
        page = page_of(shown, path)
        assert SCRIPT_TAG not in page and "&lt;script&gt;" in page
    for path in ("/operations", "/cost", "/cold-starts"):
        page = page_of(shown, path, model=SCRIPT_TAG + '"x', tag=f"x={SCRIPT_TAG}")
        assert SCRIPT_TAG not in page and '"x"' not in page
    refused = shown.http.get("/dashboard/cost", params={"group_by": SCRIPT_TAG})
    assert refused.status_code == 400 and "<script" not in refused.text
    (row,) = [r for r in csv_of(shown, "operations") if r["id"] == ids["tagged"]]
    assert "=1+1" in row["tags"]
    (formula,) = [r for r in csv_of(shown, "cost", group_by="tag:f") if "1+1" in r["tag:f"]]
    assert formula["tag:f"] == "'=1+1"


def test_filters_and_the_pages_of_the_list(shown: Gateway, ids: dict[str, str]) -> None:
    assert {row["deployment"] for row in csv_of(shown, "operations", deployment="seconds")} == {
        "seconds",
        "tokens",  # the operation that began at the one and ended at the other
    }
    (row,) = csv_of(shown, "operations", tag="nth=1", model="", key="")
    assert row["tags"] == "nth=1"
    assert csv_of(shown, "operations", end_time="2020-01-02", start_time="2020-01-01") == []
    path, seen = "/operations?limit=2", list[str]()
    while path:
        answer = shown.http.get("/dashboard" + path)
        seen += dict.fromkeys(re.findall(r"operations/(gen_\w+)", answer.text))
        older = re.search(r'href="([^"]+)" rel="next"', answer.text)
        path = "/operations" + unescape(older[1]) if older else ""
    assert seen == [row["id"] for row in csv_of(shown, "operations")]


def test_why_this_deployment_and_each_attempt(shown: Gateway, ids: dict[str, str]) -> None:
    page = page_of(shown, f"/operations/{ids['fallback']}")
    operation = shown.operation(ids["fallback"])
    assert len(operation["attempts"]) == 2 and len(operation["candidates"]) == 2
    for attempt in operation["attempts"]:
        assert attempt["id"] in page
    assert "UpstreamFailed" in page and page.count(">expected cost<") == 1
    waterfall = page[page.index('<svg class="wide"') : page.index("</svg>")]
    assert waterfall.count("<rect") >= 2


def test_what_failed_last_is_on_the_page_of_now(shown: Gateway, ids: dict[str, str]) -> None:
    assert re.search(r"<small>failed: UpstreamFailed, [0-9:]{8}</small>", page_of(shown, ""))
    rows = {row["name"]: row for row in csv_of(shown, "now")}
    assert rows["seconds"]["last_error"] == "UpstreamFailed"
    assert rows["tokens"]["last_error"] == rows["tokens"]["last_error_at"] == ""


def test_cold_starts_are_those_of_the_report(shown: Gateway, ids: dict[str, str]) -> None:
    (told,) = [r for r in csv_of(shown, "cold-starts") if r["deployment"] == "seconds"]
    (row,) = shown.get("/v1/cold-starts", group_by="deployment", deployment="seconds")["data"]
    names = ("attempts", "cold", "warm", "unknown", "boots")
    assert [told[name] for name in names] == [str(row[name]) for name in names]
    assert float(told["boot_p50_seconds"]) == row["boot_seconds"]["p50"]
    assert told["wait_p99_seconds"] == str(row["wait_seconds"]["p99"])
    page = page_of(shown, "/cold-starts", deployment="seconds", model="seconds")
    strips = page[page.index("Call by call") :]
    wide = strips[strips.index('<svg class="wide"') : strips.index("</svg>")]
    assert wide.count("<rect") == 2 and wide.count('class="cold"') == 1 and "seconds" in wide


def test_the_tables_of_one_operation_are_files_too(shown: Gateway, ids: dict[str, str]) -> None:
    name, operation = f"operations/{ids['fallback']}", shown.operation(ids["fallback"])
    attempts = csv_of(shown, name)
    assert [row["attempt"] for row in attempts] == [one["id"] for one in operation["attempts"]]
    lines = csv_of(shown, name, rows="lines")
    assert [row["booked"] for row in lines] == [one["usd"] for one in operation["cost"]["lines"]]
    considered = csv_of(shown, name, rows="candidates")
    assert [row["deployment"] for row in considered] == ["seconds", "tokens"]
    page = page_of(shown, f"/{name}")
    assert page.count(f"{ids['fallback']}.csv?rows=") == 3


def test_hours_boots_and_calls_have_their_tables(shown: Gateway, ids: dict[str, str]) -> None:
    asked: dict[str, Any] = {"deployment": "seconds", "by": "hour", "time_zone": "Asia/Kolkata"}
    rows = shown.get("/v1/cold-starts", **asked)["data"]
    page = {"deployment": "seconds", "time_zone": "Asia/Kolkata"}
    told = csv_of(shown, "cold-starts", rows="hours", **page)
    for row, same in zip(told, rows, strict=True):
        assert row["hour"] == str(same["group"]["hour"])
        assert float(row["cold_rate"]) == same["cold_rate"]
        assert float(row["low"]) == same["cold_rate_interval"]["low"] < same["cold_rate"]
    bins = [one for row in rows for one in row["boot_seconds"]["histogram"]]
    boots = csv_of(shown, "cold-starts", rows="boots", **page)
    assert sum(int(row["boots"]) for row in boots) == sum(one["count"] for one in bins) == 1
    assert boots[-1]["share_up_to"] == "1.0"
    calls = csv_of(shown, "cold-starts", rows="calls", deployment="seconds", model="seconds")
    assert [row["verdict"] for row in calls] == ["warm", "cold"]
    assert calls[1]["operation"] == ids["cold"]
    text = page_of(shown, "/cold-starts", **page)
    assert text.count('class="spread"') == 2 * len(rows) and "hours in Asia/Kolkata" in text


def test_warmth_is_that_of_the_api(shown: Gateway, ids: dict[str, str]) -> None:
    found = {row["deployment"]: row for row in shown.get("/v1/warmth")["data"]}
    told = csv_of(shown, "cold-starts", rows="warmth")
    assert [row["deployment"] for row in told] == list(found)
    for row in told:
        same = found[row["deployment"]]
        assert row["stands"] == same["stands"]
        assert row["boot_p50_seconds"] == str(same["boot_seconds"]["p50"] or "")
        assert bool(row["last_seen_at"]) is (same["last_seen"] is not None)
    curve = csv_of(shown, "cold-starts", rows="curve")
    points = found["seconds"]["keep_alive"]["curve"]
    assert [row["p_warm"] for row in curve] == [str(point["p_warm"]) for point in points]
    only = page_of(shown, "/cold-starts", deployment="seconds")
    assert "Still warm after so long idle" in only and only.count("<polyline") >= 2
    assert "Still warm" not in page_of(shown, "/cold-starts", deployment="unpriced")
    (quality,) = csv_of(shown, "cold-starts", rows="quality")
    for name in ("predictions", "error_by_chance", "verdict"):
        assert quality[name] == str(found["seconds"]["calibration"][name])
    (bins,) = csv_of(shown, "cold-starts", rows="calibration")
    (same,) = [one for one in found["seconds"]["calibration"]["reliability"] if one["count"]]
    assert (bins["predicted"], bins["low"]) == (str(same["predicted"]), str(same["low"]))


def test_requests_replayed_under_each_policy(shown: Gateway, ids: dict[str, str]) -> None:
    page = page_of(shown, "/keep-warm", plan="seconds")
    assert "No deployment is kept warm" in page and "What would be best" in page
    said = re.search(r'class="sentence">([^<]+)<', page)
    assert said is not None
    assert "Nothing beats" in said[1] or "saves" in said[1]
    tried = csv_of(shown, "keep-warm", plan="seconds", rows="plan")
    assert {row["policy"] for row in tried} == {"fixed", "ski_rental", "histogram"}
    burdens = [Decimal(row["burden_usd_per_month"]) for row in tried]
    assert burdens == sorted(burdens) and burdens[0] > 0


@pytest.mark.parametrize("path", PAGES)
def test_pages_before_the_first_call(empty: Gateway, path: str) -> None:
    page = page_of(empty, path)
    assert "<h1>" in page and ">$0<" not in page
    assert ("Nothing was booked" in page) is (path == "/cost")


def test_pages_where_nothing_is_configured(tmp_path: Path) -> None:
    with running_gateway({}, tmp_path) as bare:
        said = {path: page_of(bare, path) for path in ("", "/cost", "/compare", "/playground")}
        for path in ("/operations", "/cold-starts", "/keep-warm"):
            assert 'class="empty"' in page_of(bare, path)
        assert csv_of(bare, "compare") == []
    assert "No deployment is configured" in said[""] and "nothing yet" in said[""]
    assert "nothing to compare" in said["/compare"] and "<button disabled>" in said["/playground"]
    assert "bills" not in said["/cost"]


def test_the_first_page_has_the_cost_and_the_cold_rate_of_the_day(
    shown: Gateway, ids: dict[str, str]
) -> None:
    (cost,), (starts,) = (shown.get(f"/v1/{name}")["data"] for name in ("costs", "cold-starts"))
    parts = (
        *(usd(cost["known_usd"]), f"and {cost['unknown_attempts']} of unknown cost"),
        f"{starts['cold_rate'] * 100:.1f} %",
        f"{starts['cold']} of {starts['cold'] + starts['warm']} with a verdict",
    )
    eventually(lambda: all(part in page_of(shown, "") for part in parts))
    assert "cost?last=24h" in page_of(shown, "")


def test_the_last_half_hour_is_counted(shown: Gateway, ids: dict[str, str]) -> None:
    def came_in() -> int:
        return sum(int(row["calls"]) for row in csv_of(shown, "now", rows="pulse"))

    begun = len(shown.get("/v1/operations")["data"])
    eventually(lambda: came_in() >= begun)
    (first, *_) = csv_of(shown, "now", rows="pulse")
    assert first["from"].endswith("0Z") and int(first["running"]) >= int(first["waiting"])


def test_reconciled_through(shown: Gateway, ids: dict[str, str]) -> None:
    assert "never reconciled" in page_of(shown, "/cost")
    folder = shown.data_dir / "statements"
    folder.mkdir()
    said = {"since": "2026-11-01", "until": "2026-11-20", "difference_percent": "+1.25"}
    (folder / "scripted.json").write_text(json.dumps({"statements": [said]}))
    assert "reconciled through 2026-11-20, difference +1.25 %" in page_of(shown, "/cost")


def test_compare_says_what_the_api_says(shown: Gateway, ids: dict[str, str]) -> None:
    found = shown.get("/v1/compare", model="tokens")
    said = re.search(r'class="sentence">([^<]+)<', page_of(shown, "/compare", model="tokens"))
    assert said is not None and unescape(said[1])[:40] == found["sentence"][:40]
    rows = csv_of(shown, "compare", model="tokens")
    assert [row["name"] for row in rows] == [c["name"] for c in found["candidates"]]


@pytest.mark.parametrize(
    "path",
    [
        "/cost?foo=1",
        "/cost?last=1y",
        "/operations?cursor=x",
        "/operations?tag=x",
        "/compare?model=x",
        "/keep-warm?month=May",
        "/keep-warm?plan=tokens",
    ],
)
def test_bad_questions(shown: Gateway, path: str) -> None:
    answer = shown.http.get(f"/dashboard{path}")
    assert answer.status_code == 400 and "invalid_value" in answer.text


@pytest.mark.parametrize(
    "path",
    ["nothing", "operation", "now.csv.csv", "playground.csv", "operations/gen_0", "static/x"],
)
def test_what_is_not_there(shown: Gateway, path: str) -> None:
    assert shown.http.get(f"/dashboard/{path}").status_code == 404


def test_the_vendored_files_are_those_that_were_taken(shown: Gateway) -> None:
    folder = resources.files("gateway.http.dashboard") / "vendor" / "uplot"
    assert "MIT" in (folder / "LICENSE").read_text()
    sums = re.findall(r"^([0-9a-f]{64})  (.+)$", (folder / "SOURCE.txt").read_text(), re.MULTILINE)
    assert len(sums) == 2
    for number, (_, name) in enumerate(sums):
        served = shown.http.get(f"/dashboard/static/uplot.{('js', 'css')[number]}")
        assert served.content == (folder / name).read_bytes()
        assert hashlib.sha256(served.content).hexdigest() == sums[number][0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, "unknown"),
        ("0", "$0"),
        ("0.00009312345", "$0.0000931"),
        ("0.1", "$0.10"),
        ("0.012", "$0.012"),
        ("1234.5", "$1,234.50"),
        ("-0.5", "-$0.50"),
        ("0.000000000001", "$0.000000000001"),
    ],
)
def test_money_has_three_digits_and_no_exponent(text: str | None, shown: str) -> None:
    assert usd(text) == shown


def test_seconds_have_a_unit() -> None:
    said = [seconds(value) for value in (None, 0, 0.0123, 1, 119, 120, 7300)]
    assert said == ["unknown", "0 s", "12.3 ms", "1 s", "119 s", "2 min 0 s", "2 h 1 min"]
