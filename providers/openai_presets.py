"""Providers that need no code: where they are, and what is their own about them.

Each row becomes the defaults of a provider block of that name. A row is a reading of a document,
dated; nobody has run these against the live services yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults for one provider block, and where they come from."""

    base_url: str
    source: str
    checked_on: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def block(self) -> dict[str, Any]:
        return {"base_url": self.base_url, **self.more}


_DAY = "2026-11-23"

PRESETS: Mapping[str, Preset] = {
    "openai": Preset(
        "https://api.openai.com/v1",
        "https://platform.openai.com/docs/api-reference/chat",
        _DAY,
        {"max_tokens_key": "max_completion_tokens"},  # its reasoning models refuse max_tokens
    ),
    "groq": Preset("https://api.groq.com/openai/v1", "https://console.groq.com/docs/openai", _DAY),
    "together": Preset(
        "https://api.together.xyz/v1",
        "https://docs.together.ai/docs/error-codes",
        _DAY,
        {"status_errors": {403: "ContextTooLong"}},  # input and max_tokens together, not auth
    ),
    "fireworks": Preset(
        "https://api.fireworks.ai/inference/v1",
        "https://docs.fireworks.ai/guides/inference-error-codes",
        _DAY,
        {
            # A deployment scaled to zero refuses until it is up, for minutes; it does not queue.
            "cold_when": [{"status": 503, "contains": "DEPLOYMENT_SCALING_UP"}],
            "status_errors": {412: "CredentialsRejected"},  # the account is suspended
        },
    ),
    "deepinfra": Preset(
        "https://api.deepinfra.com/v1/openai",
        "https://deepinfra.com/docs/openai_api",
        _DAY,
    ),
    "openrouter": Preset(
        "https://openrouter.ai/api/v1",
        "https://openrouter.ai/docs/api/reference/errors-and-debugging",
        _DAY,
    ),
    "cerebras": Preset(
        "https://api.cerebras.ai/v1",
        "https://inference-docs.cerebras.ai/resources/openai",
        _DAY,
    ),
    "nebius": Preset(
        "https://api.tokenfactory.nebius.com/v1",
        "https://docs.tokenfactory.nebius.com/api-reference/introduction",
        _DAY,
    ),
    "novita": Preset(
        "https://api.novita.ai/v3/openai",
        "https://docs.litellm.ai/docs/providers/novita",
        _DAY,
    ),
    "baseten": Preset(
        "https://inference.baseten.co/v1",
        "https://docs.baseten.co/development/model-apis/overview",
        _DAY,
    ),
}
