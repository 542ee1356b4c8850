"""Rows of the ledger as rows of FOCUS, the FinOps Foundation's format for bills. Pure.

Written for version 1.3 of its Cost and Usage dataset (4 December 2025; 1.4 of June 2026 adds
datasets and columns and takes none of these away). A cost line is a row, and so is a charge, so
boot and idle time are rows of their own. What the format has no column for begins with ``x_``.

* An unknown cost is an empty cell, never 0; ``x_CostStatus`` says how a cost is known.
* ConsumedQuantity, PricingQuantity, PricingUnit, PricingCategory and the unit prices are empty
  where SkuPriceId is: the format wants it so.
* Idle time is allocated, whole, to the attempt that ended last before it: the Allocated columns
  name the attempt and have its tags, ``Tags`` is empty there. Standing and keep-warm charges, fees
  and adjustments are allocated to nobody: their Allocated columns are empty, as the format wants.
* List, contracted, billed and effective cost are the same: the gateway knows one price.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from gateway.ledger.reports.views import usd_or_null

COLUMNS = (
    *("AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId"),
    *("AllocatedResourceName", "AllocatedTags"),
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency"),
    *("BillingPeriodStart", "BillingPeriodEnd", "ChargeCategory", "ChargeClass"),
    *("ChargeDescription", "ChargeFrequency", "ChargePeriodStart", "ChargePeriodEnd"),
    *("ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice"),
    *("EffectiveCost", "HostProviderName", "InvoiceIssuerName", "ListCost", "ListUnitPrice"),
    *("PricingCategory", "PricingCurrency", "PricingQuantity", "PricingUnit"),
    *("ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName"),
    *("ServiceProviderName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId"),
    *("SubAccountId", "SubAccountName", "Tags"),
    *("x_ChargeKind", "x_CostStatus", "x_ColdStart", "x_RequestId", "x_AttemptId"),
    *("x_Model", "x_Origin", "x_AttemptStatus"),
)
_AT = {name: at for at, name in enumerate(COLUMNS)}
_UNITS = {
    "input_tokens": "Tokens",
    "cached_input_tokens": "Tokens",
    "output_tokens": "Tokens",
    "images": "Images",
    "requests": "Requests",
}
_KINDS = {"boot_seconds": "boot", "queue_seconds": "queue", "idle_seconds": "idle"}
_ACCOUNT = "serverless-inference-gateway"
TO_THE_ATTEMPT_BEFORE = "to-the-attempt-before"
"""The one method of allocation that there is, as ``gateway/ledger/README.md`` describes it."""


def attempt(row: Any) -> Iterator[Sequence[object]]:
    """A row for each cost line; one without a cost where there is no line and it is not known."""
    end_us = row["completed_at_us"] or row["begun_at_us"]
    common = {
        **_common(row["provider"], row["deployment"], row["begun_at_us"], end_us),
        "ResourceType": row["hardware"] or "Deployment",
        "SubAccountId": row["key_id"],
        "SubAccountName": row["key_id"],
        "Tags": orjson.dumps(row["tags"]).decode(),
        "x_ColdStart": row["verdict"],
        "x_RequestId": row["operation_id"],
        "x_AttemptId": row["attempt_id"],
        "x_Model": row["model"],
        "x_Origin": row["origin"],
        "x_AttemptStatus": row["status"],
    }
    lines = row["cost_lines"]
    if not lines and row["cost_pico_usd"] is None:
        lines = [{"kind": "execute_seconds", "status": "unknown"}]
    for line in lines:
        kind = str(line.get("kind"))
        yield _row(
            common,
            kind=_KINDS.get(kind, "active"),
            meter=kind,
            unit=_UNITS.get(kind, "Seconds"),
            quantity=line.get("quantity"),
            unit_price=line.get("unit_price_usd"),
            price_id=line.get("price_id"),
            cost=line.get("usd"),
            status=line.get("status"),
            description=f"{row['provider_model']}: {kind}",
            sku=(kind.endswith("_seconds") and row["hardware"]) or row["provider_model"],
        )


def charge(row: Any, owner: Any | None) -> Iterator[Sequence[object]]:
    """A charge is one row. ``owner``: the attempt that it is allocated to."""
    common = {
        **_common(
            row["provider"], row["deployment"], row["period_start_at_us"], row["period_end_at_us"]
        ),
        "ResourceType": "Deployment",
        "x_AttemptId": row["attempt_id"],
        "x_Origin": row["origin"],
    }
    if row["attempt_id"] is not None:
        common |= _allocated(row, owner)
    if owner is not None:
        common |= {
            "SubAccountId": owner["key_id"],
            "SubAccountName": owner["key_id"],
            "x_RequestId": owner["operation_id"],
            "x_Model": owner["model"],
            "x_Origin": owner["origin"],
        }
    kind = row["kind"]
    yield _row(
        common,
        kind=kind,
        meter=kind,
        unit="Units" if kind in ("fee", "adjustment") else "Seconds",
        quantity=row["quantity"],
        unit_price=row["unit_price_usd"],
        price_id=row["price_id"],
        cost=usd_or_null(row["cost_pico_usd"]),
        status=row["status"],
        description=f"{row['deployment']}: {kind}, {row['rule']}",
        sku=row["deployment"],
    )


def _allocated(row: Any, owner: Any | None) -> dict[str, object]:
    """A charge that is allocated is so to one attempt, and whole. Its tags may not be known."""
    element: dict[str, object] = {"AllocatedRatio": 1, "UsageUnit": "Seconds"}
    if row["quantity"] is not None:
        element["UsageQuantity"] = orjson.Fragment(row["quantity"])
    return {
        "AllocatedMethodId": TO_THE_ATTEMPT_BEFORE,
        "AllocatedMethodDetails": orjson.dumps({"Elements": [element]}).decode(),
        "AllocatedResourceId": row["attempt_id"],
        "AllocatedResourceName": row["attempt_id"],
        "AllocatedTags": None if owner is None else orjson.dumps(owner["tags"]).decode(),
    }


def _common(provider: str, deployment: str, start_us: int, end_us: int) -> dict[str, object]:
    month, next_month = _month(start_us)
    return {
        "BillingAccountId": _ACCOUNT,
        "BillingAccountName": _ACCOUNT,
        "BillingCurrency": "USD",
        "BillingPeriodStart": month,
        "BillingPeriodEnd": next_month,
        "ChargePeriodStart": _instant(start_us),
        # The end is not part of a period, and none is empty.
        "ChargePeriodEnd": _instant(max(end_us, start_us + 1_000_000)),
        "HostProviderName": provider,
        "InvoiceIssuerName": provider,
        "PricingCurrency": "USD",
        "ResourceId": deployment,
        "ResourceName": deployment,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": provider,
        "ServiceProviderName": provider,
        "ServiceSubcategory": "Generative AI",
    }


def _row(
    common: dict[str, object],
    *,
    kind: str,
    meter: str,
    unit: str,
    quantity: str | None,
    unit_price: str | None,
    price_id: str | None,
    cost: str | None,
    status: str | None,
    description: str,
    sku: str | None,
) -> Sequence[object]:
    row: list[object] = [None] * len(COLUMNS)
    for name, value in common.items():
        row[_AT[name]] = value
    said: dict[str, object] = {
        "ChargeCategory": "Adjustment" if kind == "adjustment" else "Usage",
        "ChargeDescription": description,
        "ChargeFrequency": "Usage-Based",
        "BilledCost": cost,
        "EffectiveCost": cost,
        "ListCost": cost,
        "ContractedCost": cost,
        "SkuId": sku,
        "SkuMeter": meter,
        "x_ChargeKind": kind,
        "x_CostStatus": status,
    }
    if price_id is not None:
        said |= {
            "SkuPriceId": price_id,
            "ConsumedQuantity": quantity,
            "ConsumedUnit": unit,
            "PricingCategory": "Standard",
            "PricingQuantity": quantity,
            "PricingUnit": unit,
            "ListUnitPrice": unit_price,
            "ContractedUnitPrice": unit_price,
        }
    for name, value in said.items():
        row[_AT[name]] = value
    return row


def _instant(at_us: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_us // 1_000_000))


def _month(at_us: int) -> tuple[str, str]:
    gone = time.gmtime(at_us // 1_000_000)
    year, month = gone.tm_year + gone.tm_mon // 12, gone.tm_mon % 12 + 1
    return (
        f"{gone.tm_year:04d}-{gone.tm_mon:02d}-01T00:00:00Z",
        f"{year:04d}-{month:02d}-01T00:00:00Z",
    )
