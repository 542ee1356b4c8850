"""Files, variables and what is refused: every message says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.settings import ConfigError, Settings, load

MINIMAL = """
providers:
  acme: {kind: openai_chat, base_url: "http://127.0.0.1:1/v1", api_key: "KEY"}
deployments:
  one: {provider: acme, model: m}
models:
  m: {deployments: [one]}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, environ: dict[str, str] | None = None, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, overrides or None)
    return str(caught.value)


def test_nothing_at_all_is_the_embedded_model() -> None:
    settings = load(None, {})
    assert set(settings.models) == {"smollm2"} and settings.revision == "default"
    assert settings.server.host == "127.0.0.1" and settings.server.port == 8080
    assert not settings.needs_keys


def test_a_file(tmp_path: Path) -> None:
    settings = load(written(tmp_path, MINIMAL), {})
    assert set(settings.models) == {"m"}
    assert settings.deployments["one"].provider == "acme"
    assert len(settings.revision) == 12 and settings.revision != "default"


def test_variables_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-a-file\n")
    text = MINIMAL.replace("KEY", "a-${NAME}-${NAME}-${file:%s}" % secret)  # noqa: UP031
    settings = load(written(tmp_path, text), {"NAME": "b"})
    assert settings.providers["acme"]["api_key"] == "a-b-b-from-a-file"


def test_a_missing_variable_names_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL.replace("KEY", "${ACME_KEY}"))
    said = refusal(path)
    assert said == "providers.acme.api_key: the environment variable ACME_KEY is not set"
    listed = written(tmp_path, "auth: {keys: [{name: a, sha256: '${HASH}'}]}")
    assert refusal(listed).startswith("auth.keys[0].sha256: ")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_missing_or_unreadable_file_names_its_place(
    tmp_path: Path, content: bytes | None
) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    path = written(tmp_path, MINIMAL.replace("KEY", f"${{file:{secret}}}"))
    said = refusal(path)
    assert said.startswith(f"providers.acme.api_key: ${{file:{secret}}}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {prot: 1}", "server.prot: unknown key"),
        ("sever: {}", "sever: unknown key"),
        ("revision: mine", "revision: unknown key"),
        ("auth: {keys: [{name: a, sha256: nope}]}", "auth.keys.0.sha256: "),
        ("server: {port: 70000}", "server.port: "),
        ("server: {port: eighty}", "server.port: "),
        ("timeouts: {boot_seconds: 0}", "timeouts.boot_seconds: "),
        ("journal: {fsync: sometimes}", "journal.fsync: "),
        ("auth: {mode: open}", "auth.mode: "),
        ("models: {m: {deployments: [one]}}", "models.m: no deployment named 'one'"),
        ("models: {m: {deployments: []}}", "models.m.deployments: "),
        ("deployments: {one: {model: m}}", "deployments.one.provider: "),
        ("deployments: {one: {provider: p, model: m, limits: {x: 1}}}", "limits.x: unknown key"),
        ("deployments: {'a b': {provider: p, model: m}}", "deployments: 'a b' is no name"),
        ("deployments: {'моя': {provider: p, model: m}}", "deployments: 'моя' is no name"),
        ('providers: {"a\\nb": {}}', "providers: 'a\\nb' is no name"),
        ("server: {port: 1}\nserver: {host: x}", "line 2: server stands twice"),
        ("server: {port: 1, port: 2}", "line 1: port stands twice"),
        ("- a", "the top level must be a mapping"),
        ("just text", "the top level must be a mapping"),
        ("a: [", "not valid YAML"),
        ("\x00", "not valid YAML"),
    ],
)
def test_what_a_file_must_not_hold(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    said = refusal(path)
    assert message in said and said.startswith(f"{path}: ")


def test_a_name_for_one_deployment_alone_is_taken(tmp_path: Path) -> None:
    text = MINIMAL.replace("  m: {", "  'deployment:one': {")
    assert "names beginning with 'deployment:' are taken" in refusal(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml").endswith("cannot be read (No such file or directory)")


def test_messages_do_not_quote_values(tmp_path: Path) -> None:
    path = written(tmp_path, "auth: {keys: [{name: a, sha256: a-pasted-secret}]}")
    assert "a-pasted-secret" not in refusal(path)


# -- the environment --------------------------------------------------------------------------


def test_variables_win_over_the_file_and_options_over_both(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "server: {port: 1, host: '127.0.0.2'}")
    environ = {"GATEWAY__SERVER__PORT": "9000", "GATEWAY__PROVIDERS__ACME__API_KEY": "k", "X": "y"}
    settings = load(path, environ)
    assert (settings.server.port, settings.server.host) == (9000, "127.0.0.2")
    assert settings.providers["acme"]["api_key"] == "k"
    assert load(path, environ, {"server": {"port": 2}}).server.port == 2
    assert settings.revision != load(path, {}).revision


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sk-123", "sk-123"),
        ("#begins-with-a-hash", "#begins-with-a-hash"),
        ("ends #early", "ends #early"),
        ("a: b", {"a": "b"}),
        ("@at", "@at"),
        ("*star", "*star"),
        ('"12345"', "12345"),
        ("12345", 12345),
        ("true", True),
        ("[a, b]", ["a", "b"]),
        ("null", None),
        ("", None),
        ("two words ", "two words "),
    ],
)
def test_the_value_of_a_variable(text: str, value: Any) -> None:
    environ = {"GATEWAY__PROVIDERS__LOCAL__API_KEY": text}
    assert load(None, environ).providers["local"]["api_key"] == value


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GATEWAY__SERVER__PROT", "server.prot: unknown key"),
        ("GATEWAY__SEVER__PORT", "sever: unknown key"),
        ("GATEWAY__REVISION", "revision"),
        ("GATEWAY__DEPLOYMENTS__ONE__LIMITS__MAX", "deployments.one.limits.max: unknown key"),
        ("GATEWAY__PROVIDERS__ACNE__API_KEY", "GATEWAY__PROVIDERS__ACNE: no deployment uses"),
    ],
)
def test_a_misspelt_variable_is_refused(tmp_path: Path, name: str, message: str) -> None:
    assert message in refusal(written(tmp_path, MINIMAL), {name: "1"})


def test_a_variable_below_another_one(tmp_path: Path) -> None:
    environ = {"GATEWAY__SERVER": "x", "GATEWAY__SERVER__PORT": "1"}
    assert refusal(None, environ).startswith("GATEWAY__SERVER__PORT: a shorter variable")


# -- who may call -----------------------------------------------------------------------------


KEY = {"name": "a", "sha256": "0" * 64}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "gateway.example", ""])
def test_no_keys_beyond_this_machine(host: str) -> None:
    said = refusal(None, {}, auth={"mode": "none"}, server={"host": host})
    assert "auth.mode: none is only allowed on a loopback address" in said
    assert load(None, {}, {"server": {"host": host}}).needs_keys


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_on_this_machine_keys_are_a_choice(host: str) -> None:
    def needs(auth: dict[str, Any]) -> bool:
        return load(None, {}, {"auth": auth, "server": {"host": host}}).needs_keys

    assert not needs({}) and not needs({"mode": "none"})
    assert needs({"mode": "keys"})
    assert needs({"keys": [KEY]})  # configured keys are never ignored
    assert "would be ignored" in refusal(None, {}, auth={"mode": "none", "keys": [KEY]})


def test_two_keys_of_one_name() -> None:
    assert "two keys have the same name" in refusal(None, {}, auth={"keys": [KEY, KEY]})


def test_settings_cannot_be_changed_by_mistake() -> None:
    settings: Any = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1
