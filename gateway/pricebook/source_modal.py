"""Modal's rates, as the account's own workspace has them.

Source: ``Workspace.billing.rates`` of modal 1.6.4, the SDK that the adapter has; USD for an hour of
one unit. The names of rates are documented nowhere: those below are what several public programs of
2026 read from ``modal billing rates --json`` (``gpu_hour_cost_l40s``, ``cpu_hour_cost``,
``mem_gib_hour_cost``, read 2026-11-26). All others are left out and named. Never run against the
live service.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from gateway.pricebook.asking import Asked, Found, per_second
from gateway.settings import ConfigError

_GPU = "gpu_hour_cost_"
_GPU_NAMES = {"a10g": "a10"}  # the SDK's name for it, and the price list's
_OTHERS = {
    "cpu_hour_cost": ("modal-cpu-core", "one physical core (2 vCPU), without memory"),
    "mem_gib_hour_cost": ("modal-memory-gib", "one GiB, without cores"),
}


async def read(asked: Asked) -> Found:
    """One row for each kind of GPU, for a core and for a GiB. Raises ProviderError."""
    try:
        from providers.modal.options import ModalSettings
        from providers.modal.sdk import SdkApi
    except ImportError as error:
        raise ConfigError(
            "prices of modal need the package 'modal': "
            "pip install 'serverless-inference-gateway[modal]'"
        ) from error
    settings = ModalSettings.model_validate(asked.block)
    if settings.token_id is None or settings.token_secret is None:
        raise ConfigError("prices of modal need token_id and token_secret in its provider block")
    api = SdkApi(
        settings.token_id,
        settings.token_secret.get_secret_value(),
        server_url=settings.server_url,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        rpc_timeout_seconds=settings.rpc_timeout_seconds,
    )
    try:
        rates = await api.rates()
    finally:
        await api.aclose()
    found = Found("modal 1.6.4: Workspace.billing.rates")
    for key, usd_per_hour in sorted(rates.items()):
        name, note = _named(key)
        known = isinstance(usd_per_hour, Decimal) and usd_per_hour.is_finite() and usd_per_hour >= 0
        if name is None or not known:
            found.left_out.append(key)
            continue
        found.offers[name] = _row(usd_per_hour, note)
    return found


def _named(key: str) -> tuple[str | None, str]:
    if key.startswith(_GPU):
        gpu = key.removeprefix(_GPU)
        if gpu.replace("_", "").isalnum() and not _is_special(gpu):
            gpu = _GPU_NAMES.get(gpu, gpu)
            return f"modal-{gpu.replace('_', '-')}", "one GPU; cores and memory come on top"
        return None, ""
    return _OTHERS.get(key, (None, ""))


def _is_special(gpu: str) -> bool:
    """Whether it is the rate of something else than a function's own GPU."""
    return any(word in gpu for word in ("sandbox", "nonpreemptible", "notebook"))


def _row(usd_per_hour: Decimal, note: str) -> dict[str, Any]:
    return {
        "usd_per_second": per_second(usd_per_hour),
        "bills": ["execute", "boot", "idle"],
        "note": f"{note}; {usd_per_hour} USD an hour",
    }
