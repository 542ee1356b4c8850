"""Options that several commands have, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
