"""Every page in a real browser, three widths, one also dark: what a run against emulators left.

The pictures stay in ``test-output/screenshots`` to be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.http.dashboard.pages import _BUILD
from tests.browser import Browser
from tests.dashboard.emulated import Seen, emulated
from tests.gateway_app.gateways import Gateway

PICTURES = Path(__file__).parents[2] / "test-output" / "screenshots"
ASKED = {
    "now": "",
    "cost": "cost?group_by=deployment&bucket_width=1h&last=24h",
    "operations": "operations?last=24h",
    "operation": "operations/{raced}",
    "cold-starts": "cold-starts?last=24h&bucket_width=1h",
    "keep-warm": "keep-warm?plan=llama-replicate",
    "compare": "compare?model=chat",
    "playground": "playground?left=chat&right=llama-acme",
}
"""What is asked of a page where more is to be seen than of the page itself."""
PAGES = {name: ASKED.get(name, name) for name in _BUILD} | {
    "operation-interrupted": "operations/{interrupted}",
    "nothing-there": "nothing",
}
_TOO_WIDE = "document.scrollingElement.scrollWidth > innerWidth"
# Tables that have to be moved sideways to be read; on a phone those that are no cards may.
_SIDEWAYS = """
JSON.stringify([...document.querySelectorAll('.scroll')]
  .filter((box) => innerWidth === 1024 && box.scrollWidth > box.clientWidth)
  .map((box) => box.getAttribute('aria-label')))
"""
_ONE_DRAWING = """
[...document.querySelectorAll('main svg.wide, main div.wide')]
  .every((one) => (one.getClientRects().length > 0) === (innerWidth > 900))
"""
# Labels of one drawing that lie upon each other, or reach out of it.
_UNREADABLE = """
JSON.stringify([...document.querySelectorAll('main svg')].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  const labels = [...svg.querySelectorAll('text')].filter((one) => one.getClientRects().length)
    .map((one) => [one.textContent, one.getBoundingClientRect()]);
  const out = labels.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1);
  const upon = labels.filter(([, a], n) => labels.slice(n + 1).some(([, b]) => a.left < b.right - 1
    && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3));
  return [...out, ...upon].map(([text]) => text);
}))
"""
_AXE = """
axe.run(%s).then(({ violations, passes }) => JSON.stringify({
  violations: violations.map(({ id, impact, nodes }) => [id, impact, nodes.map((n) => n.html)]),
  held: passes.map(({ id }) => id),
}))
"""
# What has the focus is noted with how that shows; what cannot be seen cannot have it.
_LISTEN = """
(() => {
  const wanted = 'a[href], button, input, select, textarea, summary, [tabindex="0"]';
  const all = [...document.querySelectorAll(wanted)].filter((one) => !one.disabled
    && one.type !== 'hidden' && one.checkVisibility({ visibilityProperty: true }));
  window.unreached = new Set(all);
  window.unseen = [];
  document.addEventListener('focusin', ({ target }) => {
    unreached.delete(target);
    const { outlineStyle, outlineWidth } = getComputedStyle(target);
    if (outlineStyle === 'none' || outlineWidth === '0px') unseen.push(target.outerHTML);
  });
  return all.length;
})()
"""
_WALKED = "JSON.stringify([[...unreached].map((one) => one.outerHTML.slice(0, 200)), unseen])"
_CONTRAST = json.dumps({"runOnly": ["color-contrast"]})
WIDTHS = [375, 1024, 1920]
DARK_TOO = 1024


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with emulated(tmp_path_factory.mktemp("emulated")) as seen:
        yield seen


@pytest.fixture(scope="module", autouse=True)
def pictures() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.complaints.clear()
    chromium.urls.clear()
    return chromium


def look(browser: Browser, url: str, name: str, *, width: int, dark_too: bool = False) -> None:
    """Open a page, keep its picture, and hold it to what every page must keep."""
    browser.size(width)
    browser.open(url)
    assert browser.value("document.querySelectorAll('h1').length") == 1, name
    assert not browser.value(_TOO_WIDE), name
    assert json.loads(browser.value(_SIDEWAYS)) == [], name
    assert browser.value(_ONE_DRAWING), name
    assert json.loads(browser.value(_UNREADABLE)) == [], name
    browser.screenshot(PICTURES / f"{name}-{width}-light.png")
    script = (resources.files("axe_playwright_python") / "axe.min.js").read_text()
    browser.value(f"{script}; 0")
    judged(browser, name)
    if dark_too:  # which changes colours and nothing else
        browser.size(width, dark=True)
        browser.screenshot(PICTURES / f"{name}-{width}-dark.png")
        judged(browser, name, _CONTRAST)


def judged(browser: Browser, name: str, rules: str = "") -> None:
    """By axe-core, which has been loaded."""
    found = json.loads(browser.value(_AXE.replace("%s", rules)))
    assert found["violations"] == [], name
    assert "color-contrast" in found["held"], name


def quiet(browser: Browser, url: str, allowed: str = "") -> None:
    """It complained of nothing, save of what was asked for, and asked nobody else."""
    said = [text for text in browser.complaints if not allowed or allowed not in text]
    assert said == []
    assert {urlsplit(asked).netloc for asked in browser.urls} == {urlsplit(url).netloc}


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page(browser: Browser, seen: Seen, width: int) -> None:
    url = seen.gateway.url
    for name, page in PAGES.items():
        address = f"{url}/dashboard/{page}".rstrip("/").format(**seen.ids)
        look(browser, address, name, width=width, dark_too=width == DARK_TOO)
    quiet(browser, url, allowed=f"{url}/dashboard/nothing")  # a 404 is said on the console


@pytest.mark.parametrize(("width", "dark"), [(375, True), (1920, False)])
def test_logging_in(browser: Browser, guarded: Gateway, width: int, dark: bool) -> None:
    look(browser, f"{guarded.url}/dashboard/login", "login", width=width, dark_too=dark)
    quiet(browser, guarded.url)


def test_what_runs_is_live(browser: Browser, seen: Seen) -> None:
    browser.size(1024)
    browser.open(f"{seen.gateway.url}/dashboard")
    browser.value("window.same = true")
    with seen.gateway.stream("stuck-at-acme") as events:
        operation_id = next(events)[1]["id"]
        browser.until(f"document.body.innerText.includes('{operation_id}')")
        assert "cost so far" in browser.value("document.body.innerText")
        browser.screenshot(PICTURES / "now-while-one-runs-1024-light.png")
    browser.until(f"!document.body.innerText.includes('{operation_id}')")
    assert browser.value("window.same")
    quiet(browser, seen.gateway.url)


@pytest.mark.parametrize("name", PAGES)
def test_a_keyboard_reaches_everything(browser: Browser, seen: Seen, name: str) -> None:
    browser.size(1024)
    browser.open(f"{seen.gateway.url}/dashboard/{PAGES[name]}".rstrip("/").format(**seen.ids))
    for _ in range(browser.value(_LISTEN)):
        browser.press("Tab", 9)
    unreached, unseen = json.loads(browser.value(_WALKED))
    assert unreached == [] and unseen == []
