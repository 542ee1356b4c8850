"""Who has a data folder, and where that one can be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.presence import announce, announced, hold, is_served, url_of
from gateway.settings import ConfigError


def test_a_folder_has_one_gateway_and_its_word(tmp_path: Path) -> None:
    assert not is_served(tmp_path) and announced(tmp_path) is None
    let_go = hold(tmp_path)
    announce(tmp_path, "http://127.0.0.1:1")
    assert is_served(tmp_path) and announced(tmp_path) == "http://127.0.0.1:1"
    with pytest.raises(ConfigError, match="another gateway is using this folder"):
        hold(tmp_path)
    (tmp_path / "lock").write_text("http://127.0.0.1:1\nanother machine net:[1]")
    with pytest.raises(ConfigError, match="another network"):  # here it is somebody else's port
        announced(tmp_path)
    let_go()
    assert not is_served(tmp_path)
    hold(tmp_path)()
    assert announced(tmp_path) is None  # what the one before said holds no more


def test_word_that_cannot_be_left_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    announce(tmp_path / "nowhere", "http://127.0.0.1:1")
    assert "commands will not find this gateway" in caplog.text
    assert not is_served(tmp_path / "nowhere") and announced(tmp_path / "nowhere") is None


def test_an_address_is_one_that_can_be_dialled() -> None:
    hosts = ("0.0.0.0", "::", "localhost", "10.0.0.1", "fd00::1")
    urls = [url_of(host, 80).removeprefix("http://") for host in hosts]
    assert urls == [*["127.0.0.1:80"] * 3, "10.0.0.1:80", "[fd00::1]:80"]
