"""What the guide shows of ``gateway compare`` is what it says today."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from gateway.cli import main
from tests.documents import ROOT, blocks, shell_lines


def test_the_example(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    readme, guide = ROOT / "README.md", ROOT / "gateway/comparison/README.md"
    (config,) = blocks("yaml", pages=[readme])
    path = tmp_path / "gateway.yml"
    path.write_text(config.text, encoding="utf-8")
    for name in ("ACME_API_KEY", "GROQ_API_KEY"):
        monkeypatch.setenv(name, "a")
    (line,) = [text for _, text in shell_lines() if "compare llama3 --config" in text]
    words = [str(path) if word == "gateway.yml" else word for word in shlex.split(line)]
    monkeypatch.setattr(sys, "argv", [*words, "--data-dir", str(tmp_path / "data")])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    told = [row.split() for row in capfd.readouterr().out.splitlines()]
    (shown,) = [b.text for b in blocks("text", pages=[guide]) if "The cheapest" in b.text]
    first, *table = shown.splitlines()
    assert first.split() == told[0]
    names = {row[0] for row in told if row}
    for row in table[1:]:
        assert row.split()[0] in names
    # The price of the first one stands in the configuration, so that no new price row moves it.
    assert table[1].split()[:2] == told[2][:2] == ["llama-acme", "2.74"]
