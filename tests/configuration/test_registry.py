"""What the configuration names must be there, and says what to do when it is not."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from gateway import plugins
from gateway.app import create_app
from gateway.plugins import load_plugin
from gateway.registry import Registry
from gateway.settings import ConfigError, Settings
from providers.contract import ENTRY_POINT_GROUP
from providers.testing import ScriptedProvider
from providers.toolkit.http import open_http


def tree(**deployment: Any) -> dict[str, Any]:
    return {
        "deployments": {"one": {"provider": "scripted", "model": "m", **deployment}},
        "models": {"m": {"deployments": ["one"]}},
    }


def built(tree: dict[str, Any], **plugins: Any) -> Registry:
    plugins = plugins or {"scripted": ScriptedProvider().plugin()}
    made = Registry(Settings.model_validate(tree), open_http, plugins)
    made.build()
    return made


def refusal(tree: dict[str, Any], **plugins: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        built(tree, **plugins)
    return str(caught.value)


def test_a_deployment_that_is_bound() -> None:
    target = built(tree(hardware="gpu-a", limits={"max_concurrency": 3})).targets["one"]
    assert (target.name, target.provider, target.provider_model) == ("one", "scripted", "m")
    assert target.hardware == "gpu-a" and target.tariff is None


def test_an_unknown_plugin() -> None:
    said = refusal(tree(provider="acme"))
    assert said == "deployments.one.provider: no provider plugin named 'acme' is installed"
    block = {**tree(provider="acme"), "providers": {"acme": {"kind": "acmme", "base_url": "x"}}}
    assert refusal(block).startswith("providers.acme: no provider plugin named 'acmme'")


def test_an_unknown_price_names_those_that_are_known() -> None:
    said = refusal(tree(price="lokal-cpu"))
    assert said.startswith("deployments.one.price: no price named 'lokal-cpu'")
    assert "local-cpu" in said.partition("(")[2]


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({}, "a price needs at least one rate"),
        ({"usd_per_second": "-1"}, "usd_per_second: "),
        ({"usd_per_second": "free"}, "usd_per_second: "),
        ({"usd_per_second": "1", "bills": ["lunch"]}, "bills.0: "),
    ],
)
def test_a_price_that_is_none(price: dict[str, Any], message: str) -> None:
    said = refusal(tree(price=price))
    assert said.startswith("deployments.one.price: ") and message in said


def test_unknown_keys_of_a_plugin() -> None:
    assert refusal(tree(dialekt="x")) == "deployments.one: dialekt: unknown key"
    with_block = {**tree(), "providers": {"scripted": {"api_kee": "a-secret"}}}
    said = refusal(with_block)
    assert said == "providers.scripted: api_kee: unknown key"


def test_a_text_where_a_list_belongs() -> None:
    engine = {"provider": "local", "model": "m", "command": "vllm serve m"}
    said = refusal({"deployments": {"own": engine}, "models": {"m": {"deployments": ["own"]}}})
    assert said == "deployments.own: command: Input should be a list"


def test_what_a_plugin_refuses_is_said_with_its_place() -> None:
    class Picky(ScriptedProvider):
        def bind(self, model: str, options: Any) -> Any:
            raise ValueError("no such model here")

    said = refusal(tree(), scripted=Picky().plugin())
    assert said == "deployments.one: no such model here"

    def build(settings: Any, host: Any) -> Any:
        raise ValueError("needs a token")

    said = refusal(tree(), scripted=replace(ScriptedProvider().plugin(), build=build))
    assert said == "providers.scripted: needs a token"


def entry(value: str, name: str = "acme") -> EntryPoint:
    return EntryPoint(name, value, ENTRY_POINT_GROUP)


def test_a_plugin_whose_package_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        load_plugin(entry("no_such_package_here:plugin"), "providers.acme")
    assert str(caught.value) == (
        "providers.acme: provider 'acme' needs the package 'no_such_package_here': "
        "pip install 'serverless-inference-gateway[acme]'"
    )


def test_an_entry_point_that_is_no_plugin() -> None:
    with pytest.raises(ConfigError, match="json:dumps is not a ProviderPlugin"):
        load_plugin(entry("json:dumps"), "x")


def test_a_plugin_of_another_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "CONTRACT_VERSION", 2)
    with pytest.raises(ConfigError, match="speaks contract 1, this gateway 2"):
        load_plugin(entry("providers.openai_chat:plugin"), "x")


def test_two_installed_plugins_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [entry("a:plugin"), entry("b:plugin")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found)
    with pytest.raises(ConfigError, match="two installed plugins are called 'acme'"):
        plugins.installed()


def test_only_what_is_configured_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [entry("no_such_package_here:plugin"), entry("providers.openai_chat:plugin", "chat")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found)
    configured = {
        **tree(provider="up"),
        "providers": {"up": {"kind": "chat", "base_url": "http://127.0.0.1:1"}},
    }
    assert set(built(configured).targets) == {"one"}


def test_the_application_refuses_the_same(tmp_path: Path) -> None:
    settings = Settings.model_validate({**tree(provider="acme"), "server": {"data_dir": tmp_path}})
    with pytest.raises(ConfigError, match="no provider plugin named 'acme'"):
        create_app(settings)
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_the_id_of_a_configured_price_says_which_rates_it_means() -> None:
    def price_id(**price: str) -> str:
        tariff = built(tree(price=price)).targets["one"].tariff
        assert tariff is not None
        return tariff.rows[0].id

    # The revision of these configurations is the same, as when the rates come from variables.
    assert price_id(usd_per_second="0.1") == price_id(usd_per_second="0.1")
    assert price_id(usd_per_second="0.1") != price_id(usd_per_second="0.2")
