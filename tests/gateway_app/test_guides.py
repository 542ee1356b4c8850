"""The guides in ``/docs``: all are there, and every link in them leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from gateway.app import create_app
from gateway.settings import load
from tests.documents import GUIDES, ROOT
from tests.gateways import running


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data_dir = tmp_path_factory.mktemp("data")
    settings = load(None, {}, {"server": {"data_dir": str(data_dir)}})
    with running(create_app(settings)) as url, httpx.Client(base_url=url) as client:
        yield client


class Page(HTMLParser):
    """The addresses and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.addresses.append(value)
            if value and name == "id":
                self.anchors.add(value)


def test_every_guide_is_there_and_every_link_leads_somewhere(http: httpx.Client) -> None:
    first = http.get("/docs/guides", follow_redirects=True)
    to_do, pages, files = [first.url.path], dict[str, Page](), set[str]()
    wanted: list[tuple[str, str, str]] = []
    while to_do:
        path = to_do.pop()
        if path in pages:
            continue
        answer = http.get(path)
        assert answer.status_code == 200, path
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        pages[path] = page = Page(answer.text)
        for address in page.addresses:
            target, _, anchor = urljoin(path, address).partition("#")
            if target.startswith("https://"):
                continue
            if target.startswith("/docs/guides/"):
                to_do.append(target)
                wanted.append((path, target, anchor))
            else:
                files.add(target)
    served = {path.removeprefix("/docs/guides/") for path in pages}
    assert served == {page.relative_to(ROOT).as_posix() for page in GUIDES}
    for path, target, anchor in wanted:
        assert not anchor or anchor in pages[target].anchors, (path, target, anchor)
    assert {"/docs", "/docs/guides", "/dashboard"} < files
    for file in files:
        assert http.get(file, follow_redirects=True).status_code == 200, file


def test_a_guide_says_what_its_file_says(http: httpx.Client) -> None:
    text = http.get("/docs/guides/gateway/CONFIGURATION.md").text
    for key in re.findall(r"^\| `(\w+)` \|", Path(GUIDES[0]).read_text(), re.MULTILINE):
        assert f"<code>{key}</code>" in text
    assert "begin: configuration" not in text


@pytest.mark.parametrize(
    "name",
    ["README.md", "gateway/app.py", "gateway/../README.md", "..%2f..%2fREADME.md", "/etc/passwd"],
)
def test_nothing_else_is_given_out(http: httpx.Client, name: str) -> None:
    assert http.get(f"/docs/guides/{name}").status_code == 404
