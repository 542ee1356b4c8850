"""A CSV file of jobs, with our own column names. What each column means: ``COLUMNS``."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.settings import ConfigError
from providers.contract import JobReport, Phases, UpstreamFailed, Usage

COLUMNS: Mapping[str, str] = {
    "upstream_id": "the provider's id of the job",
    "created_at": "RFC 3339; without a zone it is UTC",
    "model": "the provider's own name of the model",
    "status": "succeeded, failed or cancelled",
    "completed_at": "as created_at",
    "queue_seconds": "waiting for a place",
    "boot_seconds": "waiting for a boot; 0: it was warm",
    "wait_seconds": "both together, where they are not told apart",
    "execute_seconds": "work",
    "input_tokens": "",
    "output_tokens": "",
    "cached_input_tokens": "",
    "images": "",
    "cost_usd": "the provider's own figure; no price is put on the job then",
    "instance_id": "the machine that served it",
}
REQUIRED = ("upstream_id", "created_at", "model", "status")


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    upstream_id: str = Field(min_length=1)
    created_at: datetime
    model: str = Field(min_length=1)
    status: Literal["succeeded", "failed", "cancelled"]
    completed_at: datetime | None = None
    queue_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    boot_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    wait_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    execute_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cached_input_tokens: int | None = Field(default=None, ge=0)
    images: int | None = Field(default=None, ge=0)
    cost_usd: Decimal | None = Field(default=None, ge=0)
    instance_id: str | None = None


def read_jobs(path: Path) -> Iterator[JobReport]:
    """The jobs of a file, line by line. An empty cell is "not known". Raises ConfigError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            _check_header(path, lines.fieldnames or ())
            for cells in lines:
                yield _report(path, lines.line_num, cells)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not a CSV file in UTF-8") from error


def _check_header(path: Path, names: Any) -> None:
    missing = [name for name in REQUIRED if name not in names]
    strange = [name for name in names if name not in COLUMNS]
    if missing or strange:
        faults = [*(f"{name} is missing" for name in missing), *(f"{name}?" for name in strange)]
        raise ConfigError(
            f"{path}: the header does not fit ({', '.join(faults)}); it may name: "
            f"{', '.join(COLUMNS)}"
        )


def _report(path: Path, number: int, cells: Mapping[str, Any]) -> JobReport:
    try:
        line = _Line.model_validate({name: value for name, value in cells.items() if value})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ConfigError(f"{path}: line {number}: {place}: {fault['msg']}") from error
    usage = Usage(
        input_tokens=line.input_tokens,
        output_tokens=line.output_tokens,
        cached_input_tokens=line.cached_input_tokens,
        images=line.images,
        cost_usd=line.cost_usd,
    )
    phases = Phases(
        queue_seconds=line.queue_seconds,
        boot_seconds=line.boot_seconds,
        wait_seconds=line.wait_seconds,
        execute_seconds=line.execute_seconds,
        evidence=None if line.boot_seconds is None else "delay_reported",
        instance_id=line.instance_id,
    )
    return JobReport(
        line.upstream_id,
        line.status,
        usage,
        phases,
        _aware(line.created_at),
        None if line.completed_at is None else _aware(line.completed_at),
        model=line.model,
        failure=UpstreamFailed() if line.status == "failed" else None,
    )


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
