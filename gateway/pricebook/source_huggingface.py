"""Hugging Face's router: what each model costs at each provider that serves it.

Source: GET /v1/models, see ``providers.huggingface.catalog``. Never run against the live service.
"""

from __future__ import annotations

from typing import Any

from gateway.pricebook.asking import Asked, Found
from providers.huggingface.catalog import read_catalog

PAGE = "https://router.huggingface.co"


async def read(asked: Asked) -> Found:
    """One row for each model and live provider that states both prices. Raises ProviderError."""
    base_url = asked.base_url or PAGE
    catalog = await read_catalog(asked.http, base_url)
    found = Found(f"{base_url}/v1/models")
    for model, offers in catalog.items():
        for offer in offers:
            name = f"huggingface-router:{model}:{offer.provider}"
            rates: dict[str, Any] = {
                "usd_per_million_input_tokens": offer.usd_per_million_input_tokens,
                "usd_per_million_output_tokens": offer.usd_per_million_output_tokens,
            }
            if not offer.is_live or None in rates.values():
                found.left_out.append(name)
                continue
            found.offers[name] = rates
    return found
