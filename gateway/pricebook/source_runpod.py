"""RunPod's catalogue of GPUs: what a second of a serverless worker costs, by card and by pool.

Source: ``GET /v2/catalog/gpus`` of https://docs.runpod.io/api-reference-v2/openapi.json (2.0.0, as
recorded 2026-08-20, read 2026-11-26): ``price.serverless`` is USD for an hour of one GPU, "from the
``pool`` this GPU belongs to"; negotiated discounts are not in it. Active and flex workers cost the
same since 2026-05-13. Never run against the live service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gateway.pricebook.asking import Asked, Found, per_second
from providers.contract import (
    CredentialsRejected,
    ProtocolViolation,
    ProviderError,
    RateLimited,
    UpstreamFailed,
)

_MAX_BYTES = 8 << 20
_REFUSALS: Mapping[int, type[ProviderError]] = {
    401: CredentialsRejected,
    403: CredentialsRejected,
    429: RateLimited,
}


async def read(asked: Asked) -> Found:
    """One row for each card and for each pool. Raises ProviderError."""
    from providers.runpod.options import RunPodSettings

    settings = RunPodSettings.model_validate(asked.block)
    url = f"{settings.management_url}/catalog/gpus"
    headers = {"authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    async with asked.http.send("GET", url, headers=headers) as answer:
        if answer.status != 200:
            raise _REFUSALS.get(answer.status, UpstreamFailed)(upstream_status=answer.status)
        raw = await answer.read(_MAX_BYTES)
    try:
        gpus = json.loads(raw, parse_float=Decimal)["gpus"]
        items = [(item["name"], item["pool"], item["price"].get("serverless")) for item in gpus]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ProtocolViolation("The list of GPUs cannot be read.") from error
    found = Found(url)
    by_pool: dict[str, set[Decimal]] = {}
    for card, pool, usd_per_hour in items:
        known = isinstance(usd_per_hour, Decimal | int) and Decimal(usd_per_hour) > 0
        if not known or not isinstance(pool, str):
            found.left_out.append(_named(card))
            continue
        by_pool.setdefault(pool, set()).add(Decimal(usd_per_hour))
        found.offers[_named(card)] = _row(usd_per_hour, f"pool {pool}")
    for pool, rates in sorted(by_pool.items()):
        if len(rates) > 1:
            found.left_out.append(_named(pool))
        else:
            found.offers[_named(pool)] = _row(rates.pop(), f"pool {pool}")
    return found


def _named(what: object) -> str:
    return "runpod-" + re.sub(r"[^a-z0-9]+", "-", str(what).lower()).strip("-")


def _row(usd_per_hour: Decimal, note: str) -> dict[str, Any]:
    return {
        "usd_per_second": per_second(usd_per_hour),
        "bills": ["execute", "boot", "idle"],
        "note": f"one GPU, {note}; {usd_per_hour} USD an hour",
    }
