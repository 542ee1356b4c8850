"""Lambda Cloud's catalogue of machines: by the hour, for a deployment that runs on one.

Source: GET /api/v1/instance-types, Lambda Cloud API 1.10.0, https://docs-api.lambda.ai/api/cloud
and https://docs.lambda.ai (read 2026-11-23; at most one request a second). Billed by the minute
from the moment that health checks pass until the machine is terminated, idle time too; minutes are
rounded over the machine's whole life and not for each attempt, so no row rounds. This is the rental
of machines; Lambda's inference API ended on 2025-09-25. Never run against the live service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gateway.pricebook.asking import Asked, Found, per_second
from providers.contract import (
    CredentialsRejected,
    ProtocolViolation,
    ProviderError,
    RateLimited,
    UpstreamFailed,
)

PAGE = "https://cloud.lambda.ai"
_MAX_BYTES = 8 << 20
_REFUSALS: Mapping[int, type[ProviderError]] = {
    401: CredentialsRejected,
    403: CredentialsRejected,
    429: RateLimited,
}


async def read(asked: Asked) -> Found:
    """One row for each type of machine. Raises ProviderError."""
    url = f"{asked.base_url or PAGE}/api/v1/instance-types"
    headers = {"authorization": f"Bearer {asked.api_key}", "accept": "application/json"}
    async with asked.http.send("GET", url, headers=headers) as answer:
        if answer.status != 200:
            raise _REFUSALS.get(answer.status, UpstreamFailed)(upstream_status=answer.status)
        raw = await answer.read(_MAX_BYTES)
    try:
        types = json.loads(raw)["data"]
        items = [types[name]["instance_type"] for name in sorted(types)]
        named = [(item["name"].replace("_", "-"), item) for item in items]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ProtocolViolation("The list of machines cannot be read.") from error
    found = Found(url)
    for name, item in named:
        key, cents = f"lambda-cloud-{name}", item.get("price_cents_per_hour")
        if type(cents) is not int or cents < 0:
            found.left_out.append(key)
            continue
        found.offers[key] = _row(item, cents)
    return found


def _row(item: Mapping[str, Any], cents: int) -> dict[str, Any]:
    what = item.get("description")
    return {
        "usd_per_second": per_second(cents, 100),
        "bills": ["execute", "idle"],
        "shared": True,
        "note": f"{what if isinstance(what, str) else item['name']}: {cents} cents an hour; "
        "the bill is by the minute of the machine's whole life",
    }
