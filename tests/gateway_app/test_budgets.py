"""Budgets: money is set aside before each attempt, raised while it runs, and booked after it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.accounting.metering import TokenEstimator
from gateway.ledger.care.inspect import verify
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from providers.contract import Delta, Finished, Output, Started, UpstreamFailed, Usage
from providers.testing import Until, Wait
from tests.gateway_app.conftest import KEYS
from tests.gateway_app.gateways import Gateway, eventually, running_gateway
from tests.gateway_app.limited import CENT, DOLLAR, PER_SECOND, budget, deployment, tree

TEN = {"parameters": {"max_output_tokens": 10}}


def limit(name: str, usd: str, per: str = "total", **more: Any) -> dict[str, Any]:
    return {"name": name, "limit_usd": usd, "per": per, "tag": {"of": name}, **more}


BUDGETS = [
    limit("exact", "15"),
    limit("hourly", "25", "hour"),
    limit("daily", "5", "day", time_zone="Asia/Tokyo"),
    limit("retried", "25"),
    limit("cheaper", "1"),
    limit("priced", "1"),
    limit("lenient", "1", allow_unpriced=True),
    limit("open", "1", slice_usd="0.10"),
    limit("opened", "1", slice_usd="0.10"),
    limit("clocked", "0.001", slice_usd="0.0005"),
    limit("pictures", "0.25"),
    limit("unknown", "30"),
    limit("cancelled", "30"),
    limit("roomy", "100"),
    {"name": "everything", "limit_usd": "500", "per": "month"},
]
DEPLOYMENTS = {
    "dollar": deployment("dollar", DOLLAR),
    "cent": deployment("cent", CENT),
    "timed": deployment("timed", PER_SECOND),
    "unpriced": deployment("unpriced", None),
    "images": deployment("images", {"usd_per_image": "0.10"}),
    "first": deployment("first", DOLLAR),
    "second": deployment("second", CENT),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    given = tree(DEPLOYMENTS, budgets=BUDGETS)
    given["models"]["either"] = {"deployments": ["first", "second"]}
    with running_gateway(given, tmp_path_factory.mktemp("budgets")) as running:
        yield running


def used(tokens: int) -> tuple[Any, ...]:
    return (Delta("x"), Finished(("stop",), Usage(1, tokens)))


def refusal(gateway: Gateway, model: str, **fields: Any) -> Any:
    status, error = gateway.error(model, **fields)
    assert status == 402, error
    return error


def settled(gateway: Gateway, name: str) -> Any:
    """A budget under which nothing runs."""
    eventually(lambda: budget(gateway, name)["reserved_usd"] == "0")
    return budget(gateway, name)


# -- what has a bound -------------------------------------------------------------------------


def test_the_worst_case_must_fit_and_the_actual_is_booked(gateway: Gateway) -> None:
    gateway.scripts.only("dollar", used(3))
    tags = {"of": "exact"}
    gateway.answer("dollar", tags=tags, **TEN)  # 10 set aside, 3 spent
    assert budget(gateway, "exact") == {
        "name": "exact",
        "key": None,
        "tag": tags,
        "per": "total",
        "time_zone": "UTC",
        "start_time": None,
        "end_time": None,
        "limit_usd": "15",
        "spent_usd": "3",
        "reserved_usd": "0",
        "left_usd": "12",
        "unknown_attempts": 0,
    }
    gateway.answer("dollar", tags=tags, **TEN)
    calls = len(gateway.scripts.calls("dollar"))
    error = refusal(gateway, "dollar", tags=tags, **TEN)  # 6 are spent: 10 more may be 16
    assert (error["type"], error["code"]) == ("budget_error", "budget_exceeded")
    assert "exact" in error["message"] and error["retry_after_seconds"] is None
    assert len(gateway.scripts.calls("dollar")) == calls
    assert settled(gateway, "exact")["spent_usd"] == "6"
    gateway.answer("dollar", tags=tags, parameters={"max_output_tokens": 9})


@pytest.mark.parametrize(("name", "model"), [("hourly", "dollar"), ("daily", "dollar")])
def test_a_window_says_when_it_begins_anew(gateway: Gateway, name: str, model: str) -> None:
    gateway.scripts.only(model, used(1))
    response = gateway.generate(model, tags={"of": name}, parameters={"max_output_tokens": 26})
    error = response.json()["error"]
    told = budget(gateway, name)
    start, end = (datetime.fromisoformat(told[end]) for end in ("start_time", "end_time"))
    assert (end - start).total_seconds() == (3600 if name == "hourly" else 86400)
    if name == "daily":
        assert start.astimezone(UTC).hour == 15  # midnight in Tokyo
    left = (end - datetime.now(UTC)).total_seconds()
    assert response.status_code == 402 and told["end_time"] in error["message"]
    assert 0 <= error["retry_after_seconds"] - left < 5
    assert abs(int(response.headers["retry-after"]) - left) < 5


def test_all_budgets_of_an_operation_must_have_room(gateway: Gateway) -> None:
    gateway.scripts.only("dollar", used(2))
    before = float(settled(gateway, "everything")["spent_usd"])
    gateway.answer("dollar", tags={"of": "roomy"}, **TEN)
    assert float(settled(gateway, "everything")["spent_usd"]) == before + 2
    # one refuses: nothing stays set aside in the other
    refusal(gateway, "dollar", tags={"of": "roomy"}, parameters={"max_output_tokens": 101})
    assert budget(gateway, "everything")["reserved_usd"] == "0"
    assert budget(gateway, "roomy")["spent_usd"] == "2"


def test_what_runs_is_set_aside_and_the_refusal_says_so(gateway: Gateway) -> None:
    go_on = asyncio.Event()
    gateway.scripts.only("dollar", (Delta("x"), Until(go_on), *used(1)))
    tags = {"of": "hourly"}
    body = {"model": "dollar", "input": "Hi", "stream": True, "tags": tags, **TEN}
    with gateway.http.stream("POST", "/v1/generate", json=body) as held:
        eventually(lambda: budget(gateway, "hourly")["reserved_usd"] == "10")
        error = refusal(gateway, "dollar", tags=tags, parameters={"max_output_tokens": 20})
        assert "beside those that run" in error["message"] and error["retry_after_seconds"] == 1
        assert gateway.loop is not None
        gateway.loop.call_soon_threadsafe(go_on.set)
        held.read()
    assert settled(gateway, "hourly")["spent_usd"] == "1"


def test_each_retry_sets_aside_and_is_booked(gateway: Gateway) -> None:
    failing = (Started(), UpstreamFailed(usage=Usage(1, 8)))
    gateway.scripts.only("dollar", failing, used(4))
    answer = gateway.answer("dollar", tags={"of": "retried"}, **TEN)
    assert answer["cost"]["total_usd"] == "12"
    assert settled(gateway, "retried")["spent_usd"] == "12"
    gateway.scripts.only("dollar", failing, used(4))
    error = refusal(gateway, "dollar", tags={"of": "retried"}, **TEN)  # 20 are spent by then
    assert error["cost"]["total_usd"] == "8"
    assert len(gateway.scripts.calls("dollar")) == 1
    assert settled(gateway, "retried")["spent_usd"] == "20"


def test_a_cheaper_deployment_may_fit(gateway: Gateway) -> None:
    gateway.scripts.only("first", used(1))
    gateway.scripts.only("second", used(1))
    answer = gateway.answer("either", tags={"of": "cheaper"}, **TEN)
    assert answer["deployment"] == "second" and not gateway.scripts.calls("first")


# -- without a price --------------------------------------------------------------------------


def test_an_unknown_price_is_refused(gateway: Gateway) -> None:
    gateway.scripts.only("unpriced", used(1))
    error = refusal(gateway, "unpriced", tags={"of": "priced"})
    assert error["code"] == "price_unknown" and "operator" in error["message"]
    assert not gateway.scripts.calls("unpriced")
    assert budget(gateway, "priced")["spent_usd"] == "0"


def test_an_unknown_price_that_is_allowed_counts_as_unknown(
    tmp_path: Path,
) -> None:
    given = tree(
        {"unpriced": deployment("unpriced", None), "dollar": deployment("dollar", DOLLAR)},
        budgets=[{"name": "lenient", "limit_usd": "5", "per": "total", "allow_unpriced": True}],
    )
    with running_gateway(given, tmp_path) as lenient:
        lenient.scripts.only("unpriced", used(1))
        lenient.answer("unpriced")
        told = budget(lenient, "lenient")
        assert (told["spent_usd"], told["unknown_attempts"]) == ("0", 1)
        lenient.scripts.only("dollar", used(5))
        lenient.answer("dollar", parameters={"max_output_tokens": 5})
        refusal(lenient, "unpriced")  # full is full, also for what has no price


def test_a_cost_that_stays_unknown_counts_what_was_set_aside(gateway: Gateway) -> None:
    # A figure that nobody can compute with: settled as unknown.
    gateway.scripts.only("dollar", (Delta("x"), Finished(("stop",), Usage(1, "many"))))  # type: ignore[arg-type]
    answer = gateway.answer("dollar", tags={"of": "unknown"}, **TEN)
    spent = float(settled(gateway, "unknown")["spent_usd"])
    assert answer["cost"]["status"] != "measured" and 0 < spent <= 10


# -- what has no bound ------------------------------------------------------------------------


def test_an_open_answer_is_cut_when_the_budget_is_used_up(gateway: Gateway) -> None:
    # 4 bytes a token and a margin of a third: 1.00 USD at 0.01 a token is 75 tokens of 4 bytes.
    gateway.scripts.only("cent", (*(Delta("word") for _ in range(1000)), *used(1000)))
    events = gateway.stream("cent", tags={"of": "open"})
    words = [event for event in events if event.name == "delta"]
    error = events[-1].data["error"]
    assert events[-1].name == "error" and error["code"] == "budget_exceeded"
    assert "open" in error["message"] and "used up" in error["message"]
    assert 66 <= len(words) <= 76
    assert error["cost"]["status"] == "estimated"
    (call,) = gateway.scripts.calls("cent")
    assert call.outcome == "closed"
    told = settled(gateway, "open")
    assert 0.9 <= float(told["spent_usd"]) <= 1  # what it held: more may have been made
    assert 0.66 <= float(error["cost"]["total_usd"]) <= float(told["spent_usd"])
    operation = gateway.operation(events[0].data["id"])
    assert operation["status"] == "failed"
    (row,) = gateway.rows(events[0].data["id"])
    assert row["error_type"] == "BudgetRanOut"
    assert 9 * 10**11 <= row["reserved_pico_usd"] <= 10**12  # no slice more was to be had
    assert verify(gateway.data_dir) == []


def test_an_open_answer_that_fits_ends_in_peace(gateway: Gateway) -> None:
    gateway.scripts.only("cent", (*(Delta("word") for _ in range(40)), *used(40)))
    answer = gateway.answer("cent", tags={"of": "opened"})
    assert answer["cost"]["total_usd"] == "0.4"
    assert settled(gateway, "opened")["spent_usd"] == "0.4"
    error = refusal(gateway, "cent", tags={"of": "opened"}, parameters={"max_output_tokens": 61})
    assert error["code"] == "budget_exceeded"


def test_open_time_is_cut_by_the_clock(gateway: Gateway) -> None:
    gateway.scripts.only("timed", (Started(), Wait(30), *used(1)))
    error = refusal(gateway, "timed", tags={"of": "clocked"})  # 0.001 USD is a tenth of a second
    (call,) = gateway.scripts.calls("timed")
    assert error["code"] == "budget_exceeded" and call.outcome == "cancelled"
    seconds = float(error["cost"]["total_usd"]) / 0.01
    assert 0.05 <= seconds <= 1  # less than a slice was left, or it was cut soon after
    assert settled(gateway, "clocked")["spent_usd"] == error["cost"]["total_usd"]


def test_pictures_are_counted_as_they_come(gateway: Gateway) -> None:
    picture = Output("image", data=b"png", media_type="image/png")
    gateway.scripts.only("images", (*[picture] * 9, Finished(("stop",), Usage(images=9))))
    error = refusal(gateway, "images", tags={"of": "pictures"})
    (call,) = gateway.scripts.calls("images")
    assert error["cost"]["total_usd"] in ("0.2", "0.3") and len(call.yielded) <= 3


def test_a_chat_stream_ends_with_the_error(gateway: Gateway) -> None:
    gateway.scripts.only("cent", (*(Delta("word") for _ in range(1000)), *used(1000)))
    body = {
        "model": "cent",
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
        "metadata": {"of": "opened"},  # 0.60 are left
    }
    response = gateway.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    last = response.text.strip().rpartition("data: ")[2]
    assert '"budget_exceeded"' in last


def test_hanging_up_frees_what_was_set_aside(gateway: Gateway) -> None:
    gateway.scripts.only("dollar", (Delta("x"), Wait(30), *used(1)))
    body = {"model": "dollar", "input": "Hi", "stream": True, "tags": {"of": "cancelled"}, **TEN}
    with gateway.http.stream("POST", "/v1/generate", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        eventually(lambda: budget(gateway, "cancelled")["reserved_usd"] == "10")
    told = settled(gateway, "cancelled")
    assert told["spent_usd"] == "1"  # one token was seen


def test_the_sdk_does_not_try_again(gateway: Gateway) -> None:
    asked: list[Any] = []
    hooks: Any = {"request": [asked.append]}
    client = openai.OpenAI(
        base_url=f"{gateway.url}/v1",
        api_key="none",
        max_retries=3,
        http_client=openai.DefaultHttpxClient(event_hooks=hooks),
    )
    messages: Any = [{"role": "user", "content": "Hi"}]
    with client, pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(
            model="dollar", messages=messages, max_tokens=1000, metadata={"of": "roomy"}
        )
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
    assert len(asked) == 1


# -- before it is known -----------------------------------------------------------------------


def test_until_it_is_known_nothing_is_spent_under_a_budget(tmp_path: Path) -> None:
    """The ledger cannot be read: a database of another release."""
    other = sqlite3.connect(tmp_path / "ledger.sqlite3")
    other.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT)")
    other.execute("INSERT INTO meta VALUES ('schema_version', '999')")
    other.commit()
    other.close()
    given = tree(
        {"dollar": deployment("dollar", DOLLAR)},
        server={"budget_wait_seconds": 0.05},
        budgets=[limit("mine", "100")],
    )
    with running_gateway(given, tmp_path) as blind:
        blind.scripts.only("dollar", used(1))
        response = blind.generate("dollar", tags={"of": "mine"})
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (503, "budget_unknown")
        assert response.headers["retry-after"] == "1" and "mine" in error["message"]
        assert not blind.scripts.calls("dollar")
        (told,) = blind.http.get("/v1/budgets").json()["data"]
        assert told["spent_usd"] is told["left_usd"] is None
        assert blind.generate("dollar").status_code == 200  # it is under no budget


def test_reports_scope_is_needed(locked: Gateway) -> None:
    for name, status in (("app", 403), ("finance", 200)):
        headers = {"authorization": f"Bearer {KEYS[name][0]}"}
        response: httpx.Response = locked.http.get("/v1/budgets", headers=headers)
        assert response.status_code == status


def test_metrics_tell_what_is_left(gateway: Gateway) -> None:
    def told() -> dict[str, str]:
        found = re.findall(
            r'^gateway_budget_(\w+)_usd\{budget="lenient"\} (\S+)$',
            gateway.http.get("/metrics").text,
            re.MULTILINE,
        )
        return dict(found)

    eventually(lambda: told().keys() == {"limit", "spent", "left"}, 10)
    here = budget(gateway, "lenient")
    told_now = {name: Decimal(value) for name, value in told().items()}
    assert told_now == {name: Decimal(here[f"{name}_usd"]) for name in ("limit", "spent", "left")}


# -- faults of ours ---------------------------------------------------------------------------


def test_what_was_set_aside_comes_back_if_the_attempt_cannot_be_written_down(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(journal: Journal, row: AttemptRow) -> None:
        raise RuntimeError("a fault")

    gateway.scripts.only("dollar", used(1))
    before = budget(gateway, "roomy")["spent_usd"]
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "begin", broken)
        status, _ = gateway.error("dollar", tags={"of": "roomy"}, **TEN)
    assert status == 500 and not gateway.scripts.calls("dollar")
    told = budget(gateway, "roomy")
    assert (told["reserved_usd"], told["spent_usd"]) == ("0", before)


def test_an_answer_is_booked_though_nothing_can_be_learnt_from_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(estimator: TokenEstimator, size_bytes: int, tokens: int) -> None:
        raise RuntimeError("a fault")

    gateway.scripts.only("cent", used(1))
    before = Decimal(budget(gateway, "roomy")["spent_usd"])
    with monkeypatch.context() as patched:
        patched.setattr(TokenEstimator, "observe", broken)
        answer = gateway.answer("cent", tags={"of": "roomy"}, **TEN)
    (row,) = gateway.rows(answer["id"])
    told = settled(gateway, "roomy")
    assert row["status"] == answer["status"] == "succeeded"
    assert Decimal(told["spent_usd"]) - before == Decimal(row["cost_pico_usd"]) / 10**12 > 0
    assert "nothing was learnt" in caplog.text
