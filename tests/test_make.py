"""The way in: ``make``, the lock and the CI script, held to what the README promises."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
BARE = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def dry_run(*arguments: str) -> str:
    """What ``make`` would do in a fresh clone, on a machine without anything but make."""
    made = subprocess.run(
        ["make", "-n", "VENV=fresh", *arguments],
        cwd=ROOT,
        env=BARE,
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout


def test_arguments_reach_the_gateway() -> None:
    said = dry_run("run", "ARGS=--port 9000 --data-dir D --config F")
    assert said.splitlines()[-1] == "fresh/bin/gateway serve --port 9000 --data-dir D --config F"


@pytest.mark.parametrize("target", ["run", "test", "lint", "bench"])
def test_each_command_sets_up_what_it_needs(target: str) -> None:
    said = dry_run(target)
    assert "-m venv fresh" in said
    assert "pip install -q --disable-pip-version-check --no-deps --require-hashes" in said
    assert not re.search(r"\b(sudo|gcc|cc|cargo|npm|docker|apt)\b", said)


def test_the_lock_is_exact_and_names_no_index() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    pinned = [line for line in lines if not line.startswith(" ")]
    assert len(pinned) > 50
    assert all(re.match(r"[a-z0-9._-]+==\S+( ; .+)? \\$", line) for line in pinned)
    assert LOCK.count("--hash=sha256:") == len(lines) - len(pinned) > len(pinned)
    assert "://" not in LOCK and "--index-url" not in LOCK and "--find-links" not in LOCK


def test_the_lock_holds_all_that_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(x for group in project["project"]["optional-dependencies"].values() for x in group),
        *(x for group in project["dependency-groups"].values() for x in group),
    ]
    locked = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", LOCK, re.M))
    for requirement in asked:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name and name[0].lower() in locked, requirement
        if (exact := re.search(r"==([^;\s]+)", requirement)) is not None:
            assert locked[name[0].lower()] == exact[1]


@pytest.fixture
def ci(tmp_path: Path) -> Path:
    """A copy of the script in a project whose ``make`` targets do what the test says."""
    script = tmp_path / ".ci" / "run"
    script.parent.mkdir()
    script.write_bytes((ROOT / ".ci" / "run").read_bytes())
    script.chmod(0o755)
    (tmp_path / "Makefile").write_text("lint test:\n\t@read line; exit $($@)\n")
    return script


@pytest.mark.parametrize(
    ("lint", "test", "failed"),
    [(0, 0, ""), (1, 0, "lint"), (0, 1, "test"), (1, 1, "lint test")],
)
def test_ci_runs_both_and_tells_how_it_went(ci: Path, lint: int, test: int, failed: str) -> None:
    environment = {**BARE, "CI": "true", "MAKEFLAGS": f"lint={lint} test={test}"}
    ran = subprocess.run(
        [ci], env=environment, cwd="/", capture_output=True, text=True, timeout=20, check=False
    )
    assert ran.stdout.count("==> make ") == 4
    assert ran.returncode == (1 if failed else 0)
    assert ran.stdout.splitlines()[-1] == (f"==> failed: {failed}" if failed else "==> all passed")


def test_ci_can_be_run_as_it_is() -> None:
    assert os.stat(ROOT / ".ci" / "run").st_mode & stat.S_IXUSR
