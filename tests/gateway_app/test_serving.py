"""``gateway serve`` as a process of its own: keys, the data folder, refusals and the end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.app import create_app
from gateway.serving import GatewayServer, make_key, with_first_key
from gateway.settings import ConfigError, Settings, load

CONFIG = """
providers: {acme: {kind: openai_chat, base_url: "http://127.0.0.1:9/v1"}}
deployments: {one: {provider: acme, model: m}}
models: {m: {deployments: [one]}}
"""
_AT = re.compile(r"at http://127\.0\.0\.1:(\d+) ")
_KEY = re.compile(r"sig_[A-Za-z0-9_-]{20,}")


def command(folder: Path, *more: str) -> list[str]:
    config = folder / "gateway.yaml"
    if not config.exists():
        config.write_text(CONFIG)
    start = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", "0"]
    return [*start, "--data-dir", str(folder / "data"), *more]


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


class Served:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""

    def hear(self, pattern: re.Pattern[str]) -> str:
        """Read what it prints until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := pattern.search(line):
                return found.group(found.re.groups)
        raise AssertionError(f"it ended and said: {self.said}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        with self.process.stdout as rest:
            self.said += rest.read()
        return self.process.wait(timeout=20)


@contextlib.contextmanager
def serving(folder: Path, *more: str) -> Iterator[Served]:
    process = subprocess.Popen(
        command(folder, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    try:
        yield Served(process)
    finally:
        process.kill()  # of one that has ended already: nothing
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_beyond_this_machine_the_first_start_makes_a_key(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0") as served:
        port = served.hear(_AT)
        key = served.hear(_KEY)
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/v1/models").status_code == 401
        headers = {"authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
        assert httpx.get(f"{url}/metrics", headers=headers).status_code == 200  # it may do all
        body = {"model": "m", "input": "a secret prompt"}
        assert httpx.post(f"{url}/v1/generate", json=body, headers=headers).status_code == 502

        # a second one on the same folder is refused, in one line that says what to do
        second = subprocess.run(
            command(tmp_path), capture_output=True, text=True, env=environment(), timeout=30
        )
        assert second.returncode == 2
        assert "another gateway is using this folder" in second.stderr
        assert "Traceback" not in second.stderr and second.stderr.count("\n") == 1
        assert httpx.get(f"{url}/healthz").status_code == 200

        assert served.stop() == 0
    banner = [line for line in served.said.splitlines() if key in line]
    assert len(banner) == 2 and banner[0] == f"Your key, shown only now: {key}"
    assert banner[1].lstrip().startswith("curl ")
    assert '"error_type":"UpstreamUnreachable"' in served.said  # the attempt's line
    assert "a secret prompt" not in served.said
    files = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert not [file for file in files if key.encode() in file.read_bytes()]


# -- the first key ----------------------------------------------------------------------------


def settings_at(folder: Path, **auth: object) -> Settings:
    return load(None, {}, {"server": {"host": "0.0.0.0", "data_dir": folder}, "auth": auth})


def test_the_first_key_is_kept_and_shown_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    settings, key = with_first_key(settings_at(folder))
    assert key is not None and key.startswith("sig_") and len(key) > 40
    (entry,) = settings.auth.keys
    assert entry.scopes == {"admin"}
    again, shown = with_first_key(settings_at(folder))
    assert shown is None and again.auth.keys == settings.auth.keys
    for file in folder.iterdir():
        assert key not in file.read_text() and file.stat().st_mode & 0o077 == 0


def test_no_key_is_made_where_none_is_needed(tmp_path: Path) -> None:
    local = load(None, {}, {"server": {"data_dir": tmp_path}})
    assert with_first_key(local) == (local, None)
    _, entry = make_key("mine", frozenset({"generate"}))
    own = settings_at(tmp_path, keys=[entry.model_dump()])
    assert with_first_key(own) == (own, None)
    assert not list(tmp_path.iterdir())


def test_keys_differ() -> None:
    assert len({make_key("a", frozenset({"generate"}))[0] for _ in range(100)}) == 100


def test_a_first_key_that_was_spoilt_is_named(tmp_path: Path) -> None:
    (tmp_path / "first-key.json").write_text("{")
    with pytest.raises(ConfigError, match=r"first-key\.json"):
        with_first_key(settings_at(tmp_path))


def test_a_connection_is_kept_longer_than_clients_keep_it(tmp_path: Path) -> None:
    """Else a request is sent on one that is being closed."""
    settings = Settings.model_validate({"server": {"data_dir": tmp_path / "data"}})
    server = GatewayServer(create_app(settings), settings, lambda: None)
    assert server.config.timeout_keep_alive > max(60, httpx.Limits().keepalive_expiry or 0)
