from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cli.running import Ran, run
from tests.dashboard.conftest import configuration, traffic
from tests.gateway_app.gateways import Scripts, running_gateway


@dataclass(frozen=True)
class Lived:
    """A data folder that has seen traffic of every kind, and its configuration."""

    data_dir: Path
    config: Path
    ids: dict[str, str]


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    data_dir = tmp_path_factory.mktemp("lived")
    tree = configuration()
    tree["budgets"] = [{"name": "all", "limit_usd": "5", "per": "day", "allow_unpriced": True}]
    with running_gateway(tree, data_dir, Scripts(), log_attempts=False) as gateway:
        ids = traffic(gateway)
    # The command line knows no scripted provider; what it reads is the same by any name.
    block = {"kind": "openai_chat", "base_url": "http://127.0.0.1:9/v1", "api_key": "none"}
    tree |= {"providers": {"scripted": block}, "server": {"data_dir": str(data_dir)}}
    config = data_dir / "gateway.yml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return Lived(data_dir, config, ids)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs a command; ``columns``: on a terminal so wide."""

    def ran(*arguments: object, columns: int = 0) -> Ran:
        return run(monkeypatch, *arguments, columns=columns)

    return ran
