"""Every page in a real browser, on a phone, a tablet and a wide screen."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from providers.contract import Booting, Delta, Finished, Started, Usage
from providers.testing import Until, Wait
from tests.browser import Browser
from tests.dashboard.conftest import END, KEYS, configuration, traffic
from tests.gateway_app.gateways import Gateway, Scripts, running_gateway

PAGES = (
    *("", "cost?group_by=deployment&bucket_width=1h&last=24h", "operations", "operations/{id}"),
    *("cold-starts?last=7d", "keep-warm?plan=seconds", "compare?model=both", "playground", "login"),
)
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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1024, 1920])
def test_every_page(
    browser: Browser, shown: Gateway, ids: dict[str, str], width: int, dark: bool, tmp_path: Path
) -> None:
    browser.size(width, dark=dark)
    for number, page in enumerate(PAGES):
        path = f"/dashboard/{page}".rstrip("/").format(id=ids["fallback"])
        browser.open(shown.url + path)
        assert browser.value("document.querySelectorAll('h1').length") == 1, path
        assert not browser.value(_TOO_WIDE), path
        # A drawing is shown once: as the wide one or the narrow one.
        assert browser.value(
            "[...document.querySelectorAll('main svg.wide, main div.wide')]"
            ".every((one) => (one.getClientRects().length > 0) === (innerWidth > 900))"
        ), path
        browser.screenshot(tmp_path / f"{number}-{width}.png")
    check(browser, shown)


@pytest.mark.parametrize(("width", "dark"), [(375, False), (1024, True)], ids=["phone", "dark"])
def test_axe_finds_nothing(
    browser: Browser, shown: Gateway, ids: dict[str, str], width: int, dark: bool
) -> None:
    script = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
    browser.size(width, dark=dark)
    for page in PAGES:
        browser.open(f"{shown.url}/dashboard/{page}".rstrip("/").format(id=ids["fallback"]))
        browser.value(f"{script}; 0")
        found = json.loads(browser.value(_AXE))
        assert found["violations"] == [], page
        assert "color-contrast" in found["held"], page


_AXE = """
axe.run().then(({ violations, passes }) => JSON.stringify({
  violations: violations.map(({ id, impact, nodes }) => [id, impact, nodes.map((n) => n.html)]),
  held: passes.map(({ id }) => id),
}))
"""


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
