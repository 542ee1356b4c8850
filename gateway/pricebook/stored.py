"""Fetched rows on disk: ``prices/<source>.yml`` in the data folder, appended and never edited.

``prices/seen.json`` says when a row's figure was last seen at its source, unchanged; it may be lost
without harm.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from gateway.accounting.prices import PriceRow, rows_from_yaml
from gateway.settings import ConfigError

_SEEN = "seen.json"


def prices_dir(data_dir: Path) -> Path:
    """The folder of fetched rows."""
    return data_dir / "prices"


def stored_rows(data_dir: Path) -> list[PriceRow]:
    """Every row that was fetched. Raises ConfigError naming the file that cannot be read."""
    rows: list[PriceRow] = []
    for path in sorted(prices_dir(data_dir).glob("*.yml")):
        try:
            rows += rows_from_yaml(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, yaml.YAMLError) as error:
            raise ConfigError(
                f"{path}: is no list of price rows ({type(error).__name__}); "
                "mend it, or move it away"
            ) from error
    return rows


def append_rows(data_dir: Path, source: str, rows: Iterable[PriceRow]) -> Path:
    """Write rows behind those of their source, in one write that is on disk on return."""
    folder = prices_dir(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{source}.yml"
    text = yaml.safe_dump(
        [_plain(row) for row in rows], sort_keys=False, allow_unicode=True, width=1000
    )
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        begin = os.fstat(fd).st_size
        raw = text.encode()
        try:
            if os.write(fd, raw) != len(raw):
                raise OSError("a short write")
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, begin)
            raise
    finally:
        os.close(fd)
    return path


def seen_on(data_dir: Path) -> dict[str, date]:
    """By the id of a row: the day on which its source last said the same."""
    try:
        said = json.loads((prices_dir(data_dir) / _SEEN).read_bytes())
        return {row_id: date.fromisoformat(day) for row_id, day in said.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def note_seen(data_dir: Path, days: Mapping[str, date]) -> None:
    """Add to what ``seen_on`` says."""
    folder = prices_dir(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    known = {**seen_on(data_dir), **days}
    unfinished = folder / f".{_SEEN}.{os.getpid()}"
    text = json.dumps({row_id: day.isoformat() for row_id, day in sorted(known.items())}, indent=1)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(folder / _SEEN)


def _plain(row: PriceRow) -> dict[str, Any]:
    """A row as YAML keeps it: rates as text, so that no reader makes floats of them."""
    return row.record
