"""Options that several commands have, said once, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.settings import ConfigError

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file; without one, the embedded model."),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of journal and ledger; default: server.data_dir."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
StartOption = Annotated[
    str | None, typer.Option("--start-time", help="RFC 3339; default: 30 days ago.")
]
EndOption = Annotated[str | None, typer.Option("--end-time", help="RFC 3339; default: now.")]
PlotOption = Annotated[bool, typer.Option("--plot", help="Draw bars.")]
GroupOption = Annotated[
    list[str] | None,
    typer.Option(
        "--group-by",
        help="provider deployment model key verdict evidence status origin tag:<name>; repeatable.",
    ),
]
BucketOption = Annotated[str, typer.Option("--bucket-width", help="1h, 1d or all.")]
ZoneOption = Annotated[str, typer.Option("--time-zone", help="Where days begin.")]
UrlOption = Annotated[
    str | None, typer.Option(help="A running gateway; default: the configured address.")
]
KeyOption = Annotated[
    str | None, typer.Option("--api-key", envvar="GATEWAY_API_KEY", help="A key of that gateway.")
]


@dataclass(frozen=True)
class Place:
    """Which gateway a command is about: its configuration, and the folder of its ledger."""

    config: ConfigOption = None
    data_dir: DataDirOption = None


@dataclass(frozen=True)
class Form:
    """In which form a report is printed."""

    as_json: JsonOption = False
    as_csv: CsvOption = False

    @property
    def name(self) -> str:
        """json, csv or table. Raises ConfigError."""
        if self.as_json and self.as_csv:
            raise ConfigError("--json or --csv, not both")
        return "json" if self.as_json else "csv" if self.as_csv else "table"


def instant(text: str, option: str) -> datetime:
    """An RFC 3339 time, UTC where it names no zone. Raises ConfigError that names the option."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} is an RFC 3339 time, 2026-11-23T00:00:00Z say") from None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
