"""The API's document as a browser shows it: whole, and without any other server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from tests.browser import Browser
from tests.documented import document
from tests.gateway_app.gateways import Gateway

PAGE = "/docs"


def test_every_route_is_shown_offline(chromium: Browser, shown: Gateway, tmp_path: Path) -> None:
    chromium.complaints.clear()
    chromium.urls.clear()
    chromium.size(1024)
    chromium.open(f"{shown.url}{PAGE}")
    routes = sum(len(methods) for methods in document()["paths"].values())
    chromium.until(f"document.querySelectorAll('.opblock').length === {routes}", 20)
    shown_tags = chromium.value(
        "[...document.querySelectorAll('.opblock-tag a')].map(a => a.innerText)"
    )
    assert shown_tags == [tag["name"] for tag in document()["tags"]]
    # One that is opened shows its parameters, and the errors that it can give.
    chromium.value("document.querySelector('[id$=-costs] .opblock-summary-control').click()")
    chromium.until("document.querySelector('[id$=-costs] .responses-wrapper') !== null")
    text = chromium.value("document.querySelector('[id$=-costs]').innerText")
    for said in ("bucket_width", "RFC 3339", "invalid_value", "ledger.rollup_tags"):
        assert said in text, said
    assert chromium.complaints == []
    hosts = {urlsplit(url).netloc for url in chromium.urls if not url.startswith("data:")}
    assert hosts == {urlsplit(shown.url).netloc}
    chromium.screenshot(tmp_path / "docs.png")
