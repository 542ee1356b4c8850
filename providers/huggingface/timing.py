"""What the engines behind Hugging Face say in the head of an answer.

Sources, read 2026-11-23: text-generation-inference router/src/server.rs at db931fcf,
text-embeddings-inference router/src/http/server.rs. Both write ``x-compute-time``: seconds at TGI,
milliseconds at TEI, so it is read only where another header says which of the two wrote it; all
others are whole milliseconds in both. TGI's streams carry none of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from providers.contract import Phases, Usage

_TGI_ONLY = ("x-validation-time", "x-time-per-token", "x-generated-tokens")
_TEI_ONLY = ("x-tokenization-time", "x-compute-tokens")
_KEPT_PREFIXES = ("x-compute-", "x-total-", "x-queue-", "x-inference-", "x-validation-")
_KEPT = (*_TGI_ONLY, *_TEI_ONLY, "x-prompt-tokens", "x-request-id", "inference-id")


def phases_from(headers: Mapping[str, str]) -> Phases | None:
    """Queue and work, as the engine measured them, and who served it. None: nothing was said.

    Work is all of the engine's time that was no queueing: tokenising belongs to it. The two
    stamps are rounded to milliseconds each, so the difference is clamped at 0.
    """
    queue = _milliseconds(headers, "x-queue-time")
    total = _total_seconds(headers)
    execute = _milliseconds(headers, "x-inference-time")
    if total is not None:
        execute = round(max(0.0, total - (queue or 0.0)), 6)
    phases = Phases(
        queue_seconds=queue,
        execute_seconds=execute,
        revision=headers.get("x-inference-provider") or None,
    )
    return None if phases == Phases() else phases


def usage_from(headers: Mapping[str, str]) -> Usage | None:
    """Tokens, where the engine counted them into the head. None: it did not."""
    given = _count(headers, "x-prompt-tokens")
    if given is None:
        given = _count(headers, "x-compute-tokens")
    usage = Usage(input_tokens=given, output_tokens=_count(headers, "x-generated-tokens"))
    return None if usage == Usage() else usage


def request_id_from(headers: Mapping[str, str]) -> str | None:
    """What Hugging Face calls the request; the provider's own id, by which it bills, goes first.

    Source: https://huggingface.co/docs/inference-providers/register-as-a-provider (2026-08-22).
    """
    return headers.get("inference-id") or headers.get("x-request-id") or None


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that stand behind the seconds, as they came."""
    return {
        name: value
        for name, value in headers.items()
        if name in _KEPT or name == "x-inference-provider" or name.startswith(_KEPT_PREFIXES)
    }


def _total_seconds(headers: Mapping[str, str]) -> float | None:
    total = _milliseconds(headers, "x-total-time")
    if total is not None:
        return total
    compute = _number(headers, "x-compute-time")
    if compute is None:
        return None
    if any(name in headers for name in _TGI_ONLY):
        return compute
    return compute / 1000 if any(name in headers for name in _TEI_ONLY) else None


def _milliseconds(headers: Mapping[str, str], name: str) -> float | None:
    value = _number(headers, name)
    return None if value is None else value / 1000


def _count(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(headers.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
