"""Lambda Cloud's catalogue of machines. Our reading of https://docs-api.lambda.ai/api/cloud (API
1.10.0, read 2026-11-23): shapes and error codes; the figures are examples. No evidence of the
service.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.emulators.asgi import Call, Receive, Scope, Send

KEY = "secret_lambda-cloud_emulated.0123456789"
TYPES: dict[str, Any] = {
    "gpu_1x_a10": {
        "instance_type": {
            "name": "gpu_1x_a10",
            "description": "1x A10 (24 GB PCIe)",
            "gpu_description": "A10 (24 GB PCIe)",
            "price_cents_per_hour": 86,
            "specs": {"vcpus": 30, "memory_gib": 200, "storage_gib": 1400, "gpus": 1},
        },
        "regions_with_capacity_available": [],
    },
    "gpu_8x_b200_sxm6": {
        "instance_type": {
            "name": "gpu_8x_b200_sxm6",
            "description": "8x B200 (180 GB SXM6)",
            "gpu_description": "B200 (180 GB SXM6)",
            "price_cents_per_hour": 5352,
            "specs": {"vcpus": 208, "memory_gib": 2900, "storage_gib": 22000, "gpus": 8},
        },
        "regions_with_capacity_available": [{"name": "us-west-1", "description": "California"}],
    },
}


class LambdaCloud:
    """The ASGI app. ``refuse``: the status and code of the next answers."""

    def __init__(self) -> None:
        self.types = copy.deepcopy(TYPES)
        self.refuse: tuple[int, str] | None = None
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = await Call.of(scope, receive, send)
        path = call.path.removeprefix(scope.get("root_path", ""))
        if call.method != "GET" or not path.endswith("/api/v1/instance-types"):
            return await call.json(404, _error("global/object-does-not-exist"))
        self.asked += 1
        if call.headers.get("authorization") != f"Bearer {KEY}":
            return await call.json(403, _error("global/invalid-api-key"))
        if self.refuse is not None:
            return await call.json(self.refuse[0], _error(self.refuse[1]))
        await call.json(200, {"data": self.types})


def _error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "Refused.", "suggestion": "Ask otherwise."}}
