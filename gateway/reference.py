"""The reference tables of the guides, made from the code that they describe.

``python -m gateway.reference`` writes them anew between their markers; ``--check`` only says, by
its exit status, whether they are current. The sources are attribute docstrings, error classes and
defaults, so that a fact is told once.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import orjson
from pydantic import AwareDatetime, BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.accounting.prices import PriceRow, TokenTier
from gateway.alert_settings import AlertSettings
from gateway.http.errors import STATUSES
from gateway.keeping.settings import KeepWarmSettings, Schedule
from gateway.ledger.rows import AttemptRow, ChargeRow
from gateway.model_settings import ModelSettings
from gateway.plugins import installed, load_plugin
from gateway.price_settings import PriceBookSettings, PriceSourceSettings
from gateway.reconciliation.options import ReconciliationSettings
from gateway.settings import (
    AuthSettings,
    BudgetSettings,
    DeploymentSettings,
    InlinePrice,
    JournalSettings,
    KeySettings,
    LedgerSettings,
    Limits,
    RateLimitSettings,
    RetrySettings,
    ServerSettings,
    Timeouts,
)
from gateway.telemetry.definitions import DEFINITIONS
from gateway.telemetry_settings import TelemetrySettings
from providers.contract import ProviderError, ProviderSettings

HERE = Path(__file__).parent
DISTRIBUTION = "serverless-inference-gateway"

_WORDS: Mapping[Any, str] = {
    str: "text",
    SecretStr: "secret text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    AwareDatetime: "time with its zone",
    Path: "path",
    Any: "anything",
    type(None): "null",
}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >="}
_UNITS = {
    "_seconds": "seconds",
    "_at_us": "microseconds since the epoch, UTC",
    "_pico_usd": "10^-12 USD",
    "_usd": "USD",
    "_tokens": "tokens",
}


def configuration_reference() -> str:
    """Every key of the configuration, section by section."""
    parts = [
        _section("server", ServerSettings),
        _section("auth", AuthSettings),
        _section("auth.keys[]", KeySettings),
        _section("rate_limits", RateLimitSettings),
        _section("budgets[]", BudgetSettings),
        _section("alerts[]", AlertSettings),
        _section("journal", JournalSettings),
        _section("ledger", LedgerSettings),
        _section("timeouts", Timeouts),
        _section("retries", RetrySettings),
        _section("reconciliation", ReconciliationSettings),
        _section("models.<name>", ModelSettings),
        _section("deployments.<name>", DeploymentSettings),
        _section("deployments.<name>.keep_warm", KeepWarmSettings),
        _section("deployments.<name>.keep_warm.schedules[]", Schedule),
        _section("deployments.<name>.limits", Limits),
        _section("deployments.<name>.price", InlinePrice, like=PriceRow),
        _section("prices[]", PriceRow, without={"revision", "fetched_at"}),
        _section("prices[].tiers[]", TokenTier),
        _section("price_book", PriceBookSettings),
        _section(
            "price_book.sources.<name>",
            PriceSourceSettings,
            without=ProviderSettings.model_fields,
        ),
        _section("telemetry", TelemetrySettings),
        _section("providers.<name>", ProviderSettings),
    ]
    common = set(ProviderSettings.model_fields)
    for name, entry in sorted(installed().items()):
        if entry.dist is None or entry.dist.name != DISTRIBUTION:
            continue
        plugin = load_plugin(entry, name)
        for title, model, without in (
            (f"providers.<name> of kind {name}", plugin.settings, common),
            (f"deployments.<name> of kind {name}", plugin.options, set()),
        ):
            if model.model_fields.keys() - without:
                parts.append(_section(title, model, without=without))
            for key, field in model.model_fields.items():
                parts += [_section(f"{title}: {key}", part) for part in _models(field.annotation)]
    return "\n".join(dict.fromkeys(parts))


def ledger_reference() -> str:
    """Every column of the two kinds of rows."""
    parts = []
    for title, row in (("attempts", AttemptRow), ("charges", ChargeRow)):
        hints, meanings = get_type_hints(row), _attribute_docstrings(row)
        rows = [
            (f"`{name}`", _type(hint), _unit(name), meanings.get(name, ""))
            for name, hint in hints.items()
        ]
        table = _table("column|type|unit|meaning", rows)
        parts.append(f"### `{title}`\n\n{_intro(row)}{table}")
    return "\n".join(parts)


def error_reference() -> str:
    """What callers are told about each class of failure."""
    rows = []
    for error, (status, code) in STATUSES.items():
        retried = spends = ""
        if issubclass(error, ProviderError):
            retried = "yes" if error.retryable else "no"
            spends = "yes" if error.spends else "no"
        meaning = (error.__doc__ or "").split("\n", 1)[0]
        rows.append((str(status), f"`{code}`", f"`{error.__name__}`", retried, spends, meaning))
    return _table("status|code|class|retried|may cost|message", rows)


def metrics_reference() -> str:
    """Every metric, with its labels and buckets."""
    rows = []
    for known in DEFINITIONS:
        buckets = f" Buckets to {known.buckets[-1]:g}." if known.buckets else ""
        labels = " ".join(f"`{label}`" for label in known.labels)
        rows.append((f"`{known.name}`", known.kind, labels, known.help + buckets))
    return _table("metric|type|labels|meaning", rows)


SECTIONS: Mapping[str, tuple[Path, Callable[[], str]]] = {
    "configuration": (HERE / "CONFIGURATION.md", configuration_reference),
    "ledger": (HERE / "ledger" / "README.md", ledger_reference),
    "errors": (HERE / "http" / "README.md", error_reference),
    "metrics": (HERE / "telemetry" / "README.md", metrics_reference),
}
"""Each table by its marker: the guide that it stands in, and what makes it."""


def refreshed(name: str, text: str) -> str:
    """A guide's ``text`` with one table made anew. Raises ValueError where a marker is missing."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    whole = f"{begin}\n{SECTIONS[name][1]()}{end}"
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
    text, count = pattern.subn(lambda _: whole, text)
    if count != 1:
        raise ValueError(f"{begin} ... {end} stands there {count} times, not once")
    return text


def main(arguments: Sequence[str]) -> int:
    """Write, or with ``--check`` compare: 1 when a table was not current."""
    stale = 0
    for name, (page, _) in SECTIONS.items():
        text = page.read_text(encoding="utf-8")
        current = refreshed(name, text)
        if text != current:
            stale = 1
            if "--check" not in arguments:
                page.write_text(current, encoding="utf-8")
    return stale if "--check" in arguments else 0


def _section(
    title: str,
    model: type[BaseModel],
    *,
    without: Iterable[str] = (),
    like: type[BaseModel] | None = None,
) -> str:
    rows = []
    for name, field in model.model_fields.items():
        if name in without:
            continue
        meaning = field.description
        if meaning is None and like is not None:
            meaning = like.model_fields[name].description
        kind = _type(field.annotation) + _bounds(field)
        rows.append((f"`{name}`", kind, _default(field), meaning or ""))
    return f"## `{title}`\n\n{_intro(model)}{_table('key|type|default|meaning', rows)}"


def _intro(described: type) -> str:
    text = inspect.cleandoc(described.__doc__ or "").replace("``", "`")
    return f"{text}\n\n"


def _table(header: str, rows: Sequence[Sequence[str]]) -> str:
    names = header.split("|")
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    flat = " ".join(text.split()).replace("``", "`").replace("<name>", "&lt;name&gt;")
    return re.sub(r"\bNone\b", "null", flat).replace("|", "\\|")  # readers write YAML and JSON


def _type(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(_type(one) for one in inner)
    if origin in (tuple, list, set, frozenset):
        return f"list of {_type(inner[0])}"
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "mapping"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)).lower())


def _models(hint: Any) -> list[type[BaseModel]]:
    """The models that stand somewhere in a type."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return [hint]
    return [model for inner in get_args(hint) for model in _models(inner)]


def _bounds(field: FieldInfo) -> str:
    found = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in _BOUNDS.items()
        if getattr(rule, name, None) is not None
    ]
    return f", {' and '.join(found)}" if found else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "see there"
    if isinstance(value, frozenset | set):
        value = sorted(value)
    return f"`{orjson.dumps(value, default=str).decode()}`"


def _unit(name: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def _attribute_docstrings(row: type) -> dict[str, str]:
    """The text under each field of a dataclass."""
    body = ast.parse(textwrap.dedent(inspect.getsource(row))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[field.target.id] = str(text.value.value)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
