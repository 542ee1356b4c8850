"""Where a configuration comes from: a YAML file and the environment, as trees of plain values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PREFIX = "GATEWAY__"
_REFERENCE = re.compile(r"\$\{(file:)?([^}]*)\}")


class ConfigError(ValueError):
    """The configuration cannot be used; the message says where and why."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def from_file(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], bytes]:
    """The tree that a file says, its references filled in, and its bytes. Raises ConfigError."""
    try:
        written = path.read_bytes()
        loaded = yaml.load(written, _StrictLoader)  # noqa: S506 (it is a SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {_yaml_fault(error)}") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise ConfigError(f"{path}: the top level must be a mapping of sections")
    return _resolve(loaded or {}, environ, ""), written


class _StrictLoader(yaml.SafeLoader):
    """A key that stands twice is a mistake: the first one would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: {key.value} stands twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _resolve(node: Any, environ: Mapping[str, str], place: str) -> Any:
    if isinstance(node, dict):
        return {
            str(key): _resolve(value, environ, f"{place}.{key}" if place else str(key))
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_resolve(value, environ, f"{place}[{i}]") for i, value in enumerate(node)]
    if not isinstance(node, str) or "${" not in node:
        return node

    def fill(match: re.Match[str]) -> str:
        is_file, name = match.groups()
        if is_file:
            try:
                return Path(name).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigError(f"{place}: ${{file:{name}}}: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise ConfigError(f"{place}: ${{file:{name}}}: it is not UTF-8 text") from error
        if name not in environ:
            raise ConfigError(f"{place}: the environment variable {name} is not set")
        return environ[name]

    return _REFERENCE.sub(fill, node)


def _yaml_fault(error: yaml.YAMLError) -> str:
    """A fault of the file on one line, with its place."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"not valid YAML: {' '.join(str(error).split())}"
    problem = getattr(error, "problem", None) or "cannot be read"
    return f"not valid YAML: line {mark.line + 1}, column {mark.column + 1}: {problem}"


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The tree that variables like ``GATEWAY__SERVER__PORT`` say. Raises ConfigError."""
    tree: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIX):
            continue
        *parents, leaf = name.removeprefix(PREFIX).lower().split("__")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{name}: a shorter variable already sets {parent!r}")
        node[leaf] = _value(value)
    return tree


def _value(text: str) -> Any:
    """A variable's value: a number, a boolean, a list or mapping in YAML, else the text as it is.

    (YAML would cut a token at " #" and take one that begins with "#" for nothing.) Quotes make
    text of anything: '"123"'.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        return value if text.lstrip()[:1] in ("'", '"') else text
    if value is None and text.strip().lower() not in ("", "null", "~"):
        return text
    return value


def merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put ``changes`` into the tree; what they do not name stays."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            merge(tree[key], value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value
