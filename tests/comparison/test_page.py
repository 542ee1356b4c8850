"""The page that ``--html`` writes: whole, by itself, escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.comparison.conftest import Run

VOID = {"meta"}


class Page(HTMLParser):
    """Fails on what is not closed, and remembers tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def written(run: Run, tmp_path: Path, ledger: int) -> tuple[Page, Any]:
    """The page, and the comparison that it shows."""
    path = tmp_path / "page.html"
    found = run(
        *("llama", "--json", "--html", path, "--max-wait-p95-seconds", "60"),
        *("--own-gpu", "h100", "--capex-usd", "30000"),
    )
    return Page(path.read_text(encoding="utf-8")), found


def test_it_asks_nobody_for_anything(written: tuple[Page, Any]) -> None:
    page, _ = written
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not names & {"src", "href", "srcset", "action"}
    assert not [name for name in names if name.startswith("on")]
    assert any("default-src 'none'" in (value or "") for _, value in page.attributes)
    style = "".join(text for text in page.text if "--ink" in text)
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme:dark" in style and "max-width:900px" in style


def test_it_says_the_answer_and_shows_everything(written: tuple[Page, Any]) -> None:
    page, found = written
    text = " ".join(page.text)
    candidates = found["candidates"]
    assert found["sentence"] in text
    assert page.tags.count("tr") == len(candidates) + 1
    for candidate in candidates:
        assert candidate["name"] in text
        for unknown in candidate["unknown"]:
            assert unknown in text
    drawn = [
        candidate
        for candidate in candidates
        if candidate["total_usd"] is not None and candidate["waits"]["p95_seconds"] is not None
    ]
    # One drawing for wide screens and one for narrow ones.
    assert page.tags.count("svg") == 2 and page.tags.count("circle") == 2 * len(drawn)
    assert 2 <= len(drawn) < len(candidates)


def test_the_sentence_and_the_table_have_the_same_figures(written: tuple[Page, Any]) -> None:
    page, found = written
    said = re.findall(r"\$[0-9.,]*[0-9]", found["sentence"])
    below = " ".join(text for text in page.text if text != found["sentence"])
    assert said and all(re.search(re.escape(figure) + r"(?![0-9.])", below) for figure in said)


def test_what_others_wrote_is_escaped(run: Run, tmp_path: Path, ledger: int) -> None:
    path = tmp_path / "page.html"
    run("llama", "--html", path)
    text = path.read_text(encoding="utf-8")
    assert "&lt;b&gt;ours&lt;/b&gt;" in text and "<b>ours" not in text
    assert re.search(r"<td[^>]*><span>1</span></td>", text)


def test_a_page_without_anything_to_draw(run: Run, tmp_path: Path, ledger: int) -> None:
    path = tmp_path / "page.html"
    run("llama", "--html", path, "--filter", "key=nobody")
    assert "nothing to compare" in " ".join(Page(path.read_text()).text)
    gone = tmp_path / "no" / "page.html"
    assert "--html: " in run("llama", "--html", gone, status=2)
