"""What a real browser does with pages: live figures, charts, actions, a prompt, the keyboard."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from providers.contract import Booting, Delta, Finished, Started, Usage
from providers.testing import Until, Wait
from tests.browser import Browser
from tests.dashboard.conftest import END, KEYS, configuration, traffic
from tests.gateway_app.gateways import Gateway, Scripts, running_gateway

_TOO_WIDE = "document.scrollingElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One of these tests' own: they add to its traffic."""
    with running_gateway(configuration(), tmp_path_factory.mktemp("seen"), Scripts()) as running:
        yield running


@pytest.fixture(scope="module")
def ids(shown: Gateway) -> dict[str, str]:
    return traffic(shown)


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.complaints.clear()
    chromium.urls.clear()
    return chromium


def check(browser: Browser, gateway: Gateway) -> None:
    """It complained of nothing and asked nobody else."""
    assert browser.complaints == []
    asked = {urlsplit(url).netloc for url in browser.urls if not url.startswith("data:")}
    assert asked == {urlsplit(gateway.url).netloc}


def test_what_runs_comes_and_goes_without_a_reload(browser: Browser, shown: Gateway) -> None:
    browser.size(1024)
    browser.open(f"{shown.url}/dashboard")
    browser.value("window.same = true")
    shown.scripts.only("seconds", (Booting("process_started", True), Wait(30), *END))
    with shown.streaming("seconds") as response:
        operation_id = response.headers["x-request-id"]
        browser.until(f"document.body.innerText.includes('{operation_id}')")
        assert "waits for a boot" in browser.value("document.body.innerText")
    browser.until("document.body.innerText.includes('Nothing runs.')")
    assert browser.value("window.same")
    check(browser, shown)


BUCKET = "document.querySelector('figure.chart .reading').innerText"


def test_a_chart_says_what_its_table_says(browser: Browser, shown: Gateway, ids: Any) -> None:
    browser.size(1024)
    browser.open(f"{shown.url}/dashboard/cost?group_by=deployment&bucket_width=1h&last=24h")
    browser.until("document.querySelector('.plot.drawn') !== null")
    browser.value("document.querySelector('.canvas').focus()")
    browser.press("End", 35)
    said = browser.value(BUCKET)
    cells = "[...row.cells].map((cell) => cell.textContent.trim())"
    rows = f"[...document.querySelectorAll('figure.chart tbody tr')].map((row) => {cells})"
    (known,) = [row[3] for row in browser.value(rows)[-3:] if row[1] == "tokens"]
    assert re.search(rf"\btokens {re.escape(known)}(?![0-9])", said), said
    assert "of unknown cost" in said and "together $" in said
    browser.press("Escape", 27)
    assert browser.value("document.activeElement.className") == "canvas"
    check(browser, shown)


def test_a_closer_look_and_back(browser: Browser, shown: Gateway, ids: Any) -> None:
    browser.size(1024)
    browser.open(f"{shown.url}/dashboard/cold-starts?bucket_width=1h&last=24h&model=seconds")
    browser.until("document.querySelector('.plot.drawn') !== null")
    box = browser.value("document.querySelector('.u-over').getBoundingClientRect().toJSON()")
    middle = box["top"] + box["height"] / 2
    browser.drag((box["left"] + box["width"] * 0.5, middle), (box["right"] - 20, middle))
    link = browser.value("document.querySelector('.reading a').href")
    assert "start_time=" in link and "end_time=" in link and "model=seconds" in link
    assert "last=" not in link
    browser.value("document.querySelector('.reading button').click()")
    assert browser.value("document.querySelector('.reading a')") is None
    browser.open(link)
    assert browser.value("document.querySelectorAll('h1').length") == 1
    check(browser, shown)


@pytest.mark.parametrize("width", [375, 1024])
def test_nothing_jumps_where_a_script_draws(
    browser: Browser, shown: Gateway, ids: Any, width: int
) -> None:
    browser.size(width)
    page = f"{shown.url}/dashboard/cost?bucket_width=1h&last=24h"
    tall = "document.querySelector('figure.chart').getBoundingClientRect().height"
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
        before = browser.value(tall)
        assert not browser.value("!!document.querySelector('.canvas')")
        seen = "[...document.querySelectorAll('.plot svg')].filter((s) => s.checkVisibility())"
        assert browser.value(f"{seen}.length") == 1
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
    browser.open(page)
    browser.until("document.querySelector('.plot.drawn') !== null")
    assert browser.value(tall) == before
    browser.size(600)
    browser.until(
        "Math.abs(document.querySelector('.canvas canvas').getBoundingClientRect().width"
        " - document.querySelector('.plot').clientWidth) < 1"
    )
    check(browser, shown)


def test_the_last_half_hour_goes_on(browser: Browser, shown: Gateway, ids: Any) -> None:
    browser.size(1024)
    browser.open(f"{shown.url}/dashboard")
    browser.until("document.querySelector('#pulse .plot.drawn') !== null")
    browser.value("window.same = document.querySelector('#pulse canvas')")
    came_in = (
        "[...document.querySelectorAll('#pulse tbody tr')].map((r) => +r.cells[1].textContent)"
    )
    before = sum(browser.value(came_in))
    shown.scripts.only("tokens", END)
    shown.answer("tokens")
    browser.until(f"{came_in}.reduce((a, b) => a + b, 0) > {before}")
    assert browser.value("window.same === document.querySelector('#pulse canvas')")
    check(browser, shown)


def test_an_action_and_the_focus_that_stays(browser: Browser, shown: Gateway) -> None:
    browser.open(f"{shown.url}/dashboard")
    browser.submit("document.getElementById('cordon-unpriced').click()")
    assert urlsplit(browser.value("location.href")).path == "/dashboard"
    assert "out of service" in browser.value("document.body.innerText")
    browser.value("document.getElementById('uncordon-unpriced').focus()")
    before = browser.value("document.getElementById('as-of').dateTime")
    browser.until(f"document.getElementById('as-of').dateTime !== {before!r}")
    assert browser.value("document.activeElement.id") == "uncordon-unpriced"
    browser.submit("document.activeElement.click()")
    assert "out of service" not in browser.value("document.body.innerText")
    check(browser, shown)


def test_one_prompt_at_two_places(browser: Browser, shown: Gateway) -> None:
    browser.open(f"{shown.url}/dashboard/playground?left=tokens&right=unpriced")
    answer = (Delta("<b>One"), Wait(0.02), Delta(" two"), Finished(("stop",), Usage(1000, 2000)))
    shown.scripts.only("tokens", (Started("i", "scale_state"), *answer))
    shown.scripts.only("unpriced", answer)
    browser.value("document.querySelector('textarea').value = 'Hi'")
    browser.value("document.querySelector('#ask button').click()")
    browser.until("[...document.querySelectorAll('.bill')].every((bill) => !bill.hidden)")
    left, right = (browser.value(f"document.getElementById('{n}').innerText") for n in PANES)
    assert "<b>One two" in left and "$0.00019 (measured)" in left and "warm, scale_state" in left
    assert "<b>One two" in right and "unknown (unknown)" in right
    assert "prompt" not in browser.value("location.search")
    link = browser.value("document.querySelector('#left a.operation').href")
    found = re.search(r"gen_\w+", link)
    assert found is not None
    assert shown.operation(found[0])["cost"]["total_usd"] == "0.00019"
    browser.open(link)
    check(browser, shown)


def test_what_a_prompt_costs_while_it_is_answered(browser: Browser, shown: Gateway) -> None:
    assert shown.loop is not None
    browser.open(f"{shown.url}/dashboard/playground?left=seconds&right=unpriced")
    goes_on = asyncio.Event()
    told = (Booting("process_started", True), Wait(0.02), Started("i"), Delta("One"))
    for model in ("seconds", "unpriced"):
        shown.scripts.only(model, (*told, Until(goes_on), *END))
    browser.value("document.querySelector('textarea').value = 'Hi'")
    browser.value("document.querySelector('#ask button').click()")
    bills = "[...document.querySelectorAll('.bill')].map((one) => one.innerText)"
    browser.until(f"{bills}.every((text) => text.includes('cost so far'))")
    left, right = browser.value(bills)
    assert re.search(r"cost so far\s+\$0\.0000\d+ \(measured\)", left), left
    assert "cold, process_started" in left and "unknown" in right and "$" not in right
    before = browser.value("document.querySelector('#left .cost').innerText")
    browser.until(f"document.querySelector('#left .cost').innerText !== '{before}'")
    shown.loop.call_soon_threadsafe(goes_on.set)
    browser.until("[...document.querySelectorAll('.state')].every((p) => p.innerText === 'Done.')")
    left, right = browser.value(bills)
    assert "so far" not in left + right and "(measured)" in left and "(unknown)" in right
    check(browser, shown)


PANES = ("left", "right")


def test_logging_in_and_out(browser: Browser, guarded: Gateway) -> None:
    browser.size(375)
    browser.open(f"{guarded.url}/dashboard/cost?group_by=model")
    assert "/dashboard/login" in browser.value("location.href")
    browser.value(f"document.querySelector('[name=key]').value = '{KEYS['operator'][0]}'")
    browser.submit("document.querySelector('main button').click()")
    assert browser.value("location.href").endswith("/dashboard/cost?group_by=model")
    assert browser.value("document.cookie") == ""  # no script sees it
    assert not browser.value(_TOO_WIDE)
    browser.submit("document.querySelector('.logout button').click()")
    browser.open(f"{guarded.url}/dashboard/cost")
    assert "/dashboard/login" in browser.value("location.href")
    check(browser, guarded)


def test_by_keyboard_alone_and_the_address_says_all(browser: Browser, shown: Gateway) -> None:
    browser.size(1024)
    browser.open(f"{shown.url}/dashboard/cost")
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.className") == "skip"
    browser.press("Enter", 13)
    browser.until("document.activeElement.id === 'main'")
    reached = []
    while "BUTTON" not in reached:
        browser.press("Tab", 9)
        reached.append(
            browser.value("document.activeElement.name || document.activeElement.tagName")
        )
        assert len(reached) < 15
    assert {"group_by", "bucket_width", "model", "deployment", "provider"} <= set(reached)
    browser.value("document.querySelector('[name=group_by]').value = 'model'")
    browser.submit("document.activeElement.click()")
    address = browser.value("location.href")
    assert "group_by=model" in address and "bucket_width=1d" in address
    assert browser.value("document.querySelector('[name=group_by]').value") == "model"
    check(browser, shown)


def test_the_policy_is_enforced_and_a_complaint_is_heard(browser: Browser, shown: Gateway) -> None:
    browser.open(f"{shown.url}/dashboard/cost")
    image = "<img src='https://example.com/x.png'><p style='color: red'>"
    browser.value(f'document.body.insertAdjacentHTML("beforeend", "{image}")')
    browser.until("document.images.length === 1 && document.images[0].complete")
    assert len(browser.complaints) >= 2
    assert all("Content Security Policy" in said for said in browser.complaints)
    assert browser.value("document.images[0].naturalWidth") == 0
