"""The arrows of the house: who may import whom, how long a file may be, what nobody may do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_LINES = 400

# Modules of the same number do not know the higher ones; those that are not named are free.
GATEWAY_LAYERS = {
    "clock": 0,
    "accounting": 0,
    "routing": 0,
    "warmth": 0,
    "estimates": 0,
    "execution": 1,
    "http": 2,
    "telemetry": 2,
    "app": 3,
    "cli": 4,
}
HTTP_ENGINES = {"aiohttp", "httpx", "httpx2", "pyreqwest", "pyqwest", "requests", "urllib3"}
PROVIDERS_SHARED = {"contract", "toolkit", "testing"}
PROVIDERS_DATA = {"openai_presets"}  # a table that belongs to one adapter


def files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Full names of all that a module imports, inside functions and type checks too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in ("import_module", "__import__"):
                yield from (str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")
                up = up[: len(up) - node.level + is_package]
                base = ".".join([*up, base] if base else up)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def names_used(tree: ast.AST) -> set[str]:
    """Full names of what a module uses of others (``os.environ``), whatever it calls them here.

    An attribute of something else is ``*.name``.
    """
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                known[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    return {name for node in ast.walk(tree) if (name := _full_name(node, known)) is not None}


def _full_name(node: ast.AST, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, known) or '*'}.{node.attr}"
    return None


def wrong_import(module: str, imported: str) -> str | None:
    """Why ``module`` must not import ``imported``; None when it may."""
    here, there = module.split("."), imported.split(".")
    top = there[0]
    if top == "tests" and here[0] != "tests":
        return "what ships does not know the tests"
    if (
        top == "fastapi"
        and here[0] != "tests"
        and here[:2]
        not in (
            ["gateway", "http"],
            ["gateway", "app"],
        )
    ):
        return "FastAPI stays in gateway/http and gateway/app.py"
    if here[0] == "providers":
        if top in ("gateway", "starlette", "uvicorn"):
            return "providers do not know the gateway"
        if (top in HTTP_ENGINES or imported.startswith("urllib.request")) and module != (
            "providers.toolkit.http"
        ):
            return "only providers/toolkit/http.py names an HTTP engine"
        if top == "providers" and len(here) > 1 and len(there) > 1:
            return wrong_inside_providers(here[1], there[1])
    if here[0] == top == "gateway" and len(here) > 1 and len(there) > 1:
        lower, higher = GATEWAY_LAYERS.get(here[1]), GATEWAY_LAYERS.get(there[1])
        if lower is not None and higher is not None and higher > lower:
            return f"gateway.{here[1]} lies below gateway.{there[1]}"
        if there[1] == "cli" and here[1] not in ("cli", "__main__"):
            return "nothing stands on the command line"
    return None


def wrong_inside_providers(here: str, there: str) -> str | None:
    if here == there:
        return None
    if here == "contract":
        return "the contract knows nothing else"
    if here == "toolkit":
        return None if there == "contract" else "the toolkit knows only the contract"
    if here == "testing":
        return None if there in PROVIDERS_SHARED else "the suite knows no adapter"
    if there == "testing":
        return "adapters do not need the tests"
    if there in PROVIDERS_SHARED | PROVIDERS_DATA:
        return None
    return "adapters do not know each other"


def test_imports() -> None:
    wrong = {
        (module, imported): why
        for path in files("gateway", "providers")
        for module in [module_name(path)]
        for imported in imports_of(path.read_text("utf-8"), module, path.name == "__init__.py")
        if (why := wrong_import(module, imported))
    }
    assert not wrong


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("providers.acme", "import gateway.app"),
        ("providers.acme", "from gateway import settings"),
        ("providers.acme", "from providers import replicate"),
        ("providers.acme", "from . import replicate"),
        ("providers.acme", "def f():\n    import httpx"),
        ("providers.acme", "import importlib\nimportlib.import_module('providers.modal')"),
        ("providers.acme", "from aiohttp import ClientSession"),
        ("providers.acme.server", "from ..toolkit import sse, http\nfrom .. import modal"),
        ("providers.toolkit.jobs", "from providers.acme import x"),
        ("providers.contract.events", "from providers.toolkit import sse"),
        ("providers.acme", "from tests import conftest"),
        ("gateway.execution.run", "from fastapi import Request"),
        ("gateway.execution.run", "from gateway.http import errors"),
        ("gateway.accounting.pricing", "from gateway.execution.run import Run"),
        ("gateway.app", "from gateway.cli import main"),
        ("gateway.registry", "import gateway.cli"),
    ],
)
def test_these_would_be_found(module: str, line: str) -> None:
    assert any(wrong_import(module, imported) for imported in imports_of(line, module))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("providers.acme", "from providers.toolkit.http import open_http\nimport asyncio"),
        ("providers.acme.child", "from . import server\nfrom providers.acme import server"),
        ("providers.toolkit.http", "import aiohttp"),
        ("gateway.http.sse", "from fastapi import Request\nfrom gateway.execution.run import Run"),
        ("gateway.cli", "from gateway.app import create_app"),
        ("gateway.execution.run", "from providers.contract import Event\nimport httpx"),
    ],
)
def test_these_are_free(module: str, line: str) -> None:
    assert not [i for i in imports_of(line, module) if wrong_import(module, i)]


def test_no_file_is_too_long() -> None:
    lines = {
        module_name(path): len(path.read_text("utf-8").splitlines())
        for path in files("gateway", "providers", "tests")
    }
    assert not {module: count for module, count in lines.items() if count > MOST_LINES}


def test_the_environment_is_read_in_one_place() -> None:
    allowed = ("gateway.settings", "gateway.cli")
    for path in files("gateway", "providers"):
        if module_name(path).startswith(allowed):
            continue
        used = names_used(ast.parse(path.read_text(encoding="utf-8")))
        assert not used & {"os.environ", "os.getenv", "os.environb"}, path


def test_only_programs_print() -> None:
    """The command line does, and child processes that speak to their parent by their streams."""
    for path in files("gateway", "providers"):
        source = path.read_text(encoding="utf-8")
        is_program = '\nif __name__ == "__main__":\n' in source
        if is_program or module_name(path).startswith("gateway.cli"):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path}:{node.lineno}"
