"""Our words in those of OpenTelemetry's GenAI conventions, for metrics and spans alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# https://github.com/open-telemetry/semantic-conventions-genai, read on 2026-11-23
_OPERATIONS = {"chat.completions": "chat", "generate": "generate_content"}


def operation_name(route: str) -> str:
    """``gen_ai.operation.name`` of an API that a call came in by; other words are allowed."""
    return _OPERATIONS.get(route, "generate_content")


def outcome(row: Mapping[str, Any]) -> str | None:
    """``error.type``: the class of an attempt's failure, or why it has no end of its own."""
    if row["status"] in ("succeeded", "running"):
        return None
    error_type: str | None = row["error_type"]
    return error_type or ("other" if row["status"] == "failed" else row["status"])
