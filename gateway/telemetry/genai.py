"""Our words in those of OpenTelemetry's GenAI conventions, for metrics and spans alike."""

from __future__ import annotations

# https://github.com/open-telemetry/semantic-conventions-genai, read on 2026-11-23
_OPERATIONS = {"chat.completions": "chat", "generate": "generate_content"}


def operation_name(route: str) -> str:
    """``gen_ai.operation.name`` of an API that a call came in by; other words are allowed."""
    return _OPERATIONS.get(route, "generate_content")


def outcome(status: str, error_type: str | None) -> str:
    """``error.type``: the class of an attempt's failure, or why it has no end of its own.

    Empty for one that went well.
    """
    if status in ("succeeded", "running"):
        return ""
    return error_type or ("other" if status == "failed" else status)
