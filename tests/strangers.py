"""A stranger's distribution: modules and metadata in a folder, as an installer would leave them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def install(
    target: Path,
    name: str,
    modules: Mapping[str, str],
    entry_points: Mapping[str, Mapping[str, str]],
    *,
    version: str = "0.1",
) -> None:
    """Put the modules (file name to source) and a ``.dist-info`` into ``target``."""
    info = target / f"{name.replace('-', '_')}-{version}.dist-info"
    groups = "\n".join(
        f"[{group}]\n" + "".join(f"{entry} = {value}\n" for entry, value in entries.items())
        for group, entries in entry_points.items()
    )
    files = {
        **{target / module: source for module, source in modules.items()},
        info / "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        info / "entry_points.txt": groups,
        info / "INSTALLER": "a test\n",
    }
    info.mkdir(parents=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    record = "".join(f"{path.relative_to(target)},,\n" for path in (*files, info / "RECORD"))
    (info / "RECORD").write_text(record, encoding="utf-8")


@contextmanager
def importable(target: Path) -> Iterator[None]:
    """What is installed there can be found and imported while the block runs."""
    sys.path.insert(0, str(target))
    try:
        yield
    finally:
        sys.path.remove(str(target))
