"""An adapter translates: it has no clock, no deadline, no price, no metric and no environment.

What stands in ``EXCEPTIONS`` is used for the reason that is given, in that one module; a row that
is no longer needed fails as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks
from tests.test_architecture import PROVIDERS_SHARED, files, module_name, names_used

MOST_LINES = 250
# Full names, or what they begin with; ``*.x`` is an attribute x of anything.
FORBIDDEN = {
    "time.": "a clock: seconds are what the provider reports",
    "datetime.datetime.now": "a clock: `reported_at` is what the provider says",
    "datetime.datetime.utcnow": "a clock",
    "datetime.datetime.today": "a clock",
    "datetime.date.today": "a clock",
    "*.time": "a clock: the event loop's",
    "*.call_later": "a clock: the event loop's",
    "*.call_at": "a clock: the event loop's",
    "asyncio.timeout": "a deadline: bounds are the gateway's",
    "asyncio.timeout_at": "a deadline",
    "asyncio.wait_for": "a deadline",
    "anyio.fail_after": "a deadline",
    "anyio.fail_at": "a deadline",
    "anyio.move_on_after": "a deadline",
    "anyio.move_on_at": "a deadline",
    "*.deadline_seconds": "the gateway's deadline",
    "decimal.": "money: prices are rows of the price book",
    "genai_prices": "a price",
    "os.environ": "the environment is read by the command line",
    "os.getenv": "the environment",
    "pydantic_settings": "the environment",
    "dotenv": "the environment",
    "prometheus_client": "a metric",
    "opentelemetry": "a metric",
    "random.": "chance: a retry loop's, mostly",
}
MONEY = re.compile(r"(?:^|_)(?:usd|prices?|costs?)(?:_|$)")
EXCEPTIONS = {
    (
        "providers.huggingface.catalog",
        "decimal.Decimal",
    ): "the router's own list of prices, as data",
    ("providers.local.engine", "time.monotonic"): "the child measures its own boot",
    ("providers.local.launch", "time.monotonic"): "nobody else reports a boot of our own child",
    ("providers.local.supervisor", "asyncio.timeout"): "a child that never comes up is ended",
    ("providers.local.supervisor", "*.call_later"): "an idle child is ended",
    ("providers.modal.sdk", "asyncio.timeout"): "the SDK tries to connect for 56 s",
    ("providers.modal.billing", "asyncio.timeout"): "the same; nobody's call waits for a report",
    ("providers.replicate.provider", "*.deadline_seconds"): "goes along as Cancel-After",
    ("providers.runpod.deployment", "*.deadline_seconds"): "goes along in the job's policy",
    ("providers.replicate.stream", "asyncio.timeout"): "the pause before a look; it ends nothing",
    ("providers.replicate.webhook", "asyncio.timeout"): "the same pause, where nothing streams",
}
MONEY_ALLOWED = {
    "providers.huggingface.catalog",
    "providers.modal.billing",  # the account's own bill, as data
}

ADAPTERS = [
    path
    for path in files("providers")
    if module_name(path).split(".")[1:2] and module_name(path).split(".")[1] not in PROVIDERS_SHARED
]


def wrong_uses(source: str) -> set[str]:
    """The rules of ``FORBIDDEN`` that a source breaks, by the name that it uses."""
    tree = ast.parse(source)
    # A Retry-After may be a date, which needs to know what time it is: the one use of a clock.
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            if call.func.id == "retry_after_seconds":
                call.args = call.args[:1]
    return {name for name in names_used(tree) if _forbidden(name)}


def _forbidden(name: str) -> bool:
    return any(
        name == rule or (name.startswith(rule) and (rule.endswith(".") or name[len(rule)] == "."))
        for rule in FORBIDDEN
    )


def words(source: str) -> Iterator[str]:
    """Every name that a source gives or uses."""
    for node in ast.walk(ast.parse(source)):
        for name in ("id", "attr", "arg", "name"):
            if isinstance(word := getattr(node, name, None), str):
                yield word


@pytest.mark.parametrize("path", ADAPTERS, ids=module_name)
def test_an_adapter_only_translates(path: Path) -> None:
    module, source = module_name(path), path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    allowed = {name for where, name in EXCEPTIONS if where == module}
    assert wrong_uses(source) == allowed
    money = {word for word in words(source) if MONEY.search(word)}
    assert bool(money) == (module in MONEY_ALLOWED), money


def test_so_does_the_adapter_of_the_page() -> None:
    page = ROOT / "providers/README.md"
    (code,) = (b for b in blocks("python", pages=[page]) if "plugin = ProviderPlugin" in b.text)
    assert not wrong_uses(code.text) and len(code.text.splitlines()) <= MOST_LINES


def test_the_exceptions_are_modules_of_ours() -> None:
    known = {module_name(path) for path in ADAPTERS}
    assert {module for module, _ in EXCEPTIONS} | MONEY_ALLOWED <= known
    assert all(EXCEPTIONS.values())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\ntime.sleep(1)", "time.sleep"),
        ("import time as t\nt.time()", "time.time"),
        ("from time import monotonic as now\nnow()", "time.monotonic"),
        ("def f():\n    import time\n    return time.time()", "time.time"),
        ("from datetime import datetime, UTC\ndatetime.now(UTC)", "datetime.datetime.now"),
        ("import datetime as d\nd.datetime.utcnow()", "datetime.datetime.utcnow"),
        ("import asyncio\nasyncio.get_running_loop().time()", "*.time"),
        ("from asyncio import wait_for\nwait_for(x, 1)", "asyncio.wait_for"),
        ("import anyio\nwith anyio.fail_after(1): pass", "anyio.fail_after"),
        ("def f(request):\n    return request.deadline_seconds", "*.deadline_seconds"),
        ("from decimal import Decimal\nDecimal(1)", "decimal.Decimal"),
        ("import os as o\no.environ['X']", "os.environ"),
        ("from os import environ\nenviron['X']", "os.environ"),
        ("from genai_prices import calc_price\ncalc_price()", "genai_prices.calc_price"),
        ("from pydantic_settings import BaseSettings\nBaseSettings()", "pydantic_settings"),
    ],
)
def test_these_would_be_found(source: str, name: str) -> None:
    assert any(found.startswith(name) for found in wrong_uses(source))


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime, UTC\nretry_after_seconds(headers, datetime.now(UTC))",
        "from datetime import datetime, UTC\ndatetime.fromtimestamp(1, UTC)",
        "import anyio\nanyio.sleep(1)",
        "import os\nos.cpu_count()",
        "timeout = 1\ntimeout",
    ],
)
def test_these_are_free(source: str) -> None:
    assert not wrong_uses(source)
