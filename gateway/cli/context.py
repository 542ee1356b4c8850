"""What commands begin with: the configuration, the folder of a ledger, the form of the answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gateway.cli.options import Form
from gateway.settings import ConfigError, Settings, load


def settings_of(config: Path | None, data_dir: Path | None, **server: Any) -> Settings:
    """The configuration of a command line. Raises ConfigError."""
    given = {"data_dir": data_dir, **server}
    changes = {name: value for name, value in given.items() if value is not None}
    return load(config, os.environ, {"server": changes} if changes else None)


def ledger_of(settings: Settings) -> Path:
    """The data folder, which must have been used: a misspelt one must not look like a sound one."""
    from gateway.ledger.layout import journal_dir

    data_dir = settings.server.data_dir
    if not journal_dir(data_dir).is_dir():
        raise ConfigError(f"there is no ledger in {data_dir}")
    return data_dir


def form_of(as_json: bool, as_csv: bool) -> str:
    """How a report is to be printed. Raises ConfigError."""
    return Form(as_json, as_csv).name
