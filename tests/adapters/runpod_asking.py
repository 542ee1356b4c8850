"""An account at the emulated RunPod, asked as ``tests.adapters.asking`` does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from providers.contract import Deployment, GenerateRequest, Host, Http
from providers.runpod import RunPodDeployment, RunPodOptions, RunPodSettings, plugin
from providers.toolkit.http import open_http
from tests.adapters.asking import Asked, ask
from tests.emulators.runpod import RunPod

COUNTS: dict[str, Any] = {
    "output_field": "text",
    "input_tokens_field": "usage.tokens_in",
    "output_tokens_field": "usage.tokens_out",
}
STREAMED: dict[str, Any] = {"streams": True, **COUNTS}
"""Options of the emulator's handlers, which are generators that count."""


class Asking:
    """One account at the emulator."""

    def __init__(self, app: RunPod, http: Http, tmp_path: Path, poll_seconds: float) -> None:
        self.app = app
        block = {
            "base_url": f"{app.url}/v2",
            "management_url": f"{app.url}/rest/v2",
            "api_key": app.key,
            "poll_seconds": poll_seconds,
        }
        settings = RunPodSettings.model_validate(block)
        self.provider = plugin.build(settings, Host(http, tmp_path))

    def bind(self, endpoint: str, model: str = "m", **options: Any) -> RunPodDeployment:
        deployment = self.bind_any(endpoint, model, **options)
        assert isinstance(deployment, RunPodDeployment)
        return deployment

    def bind_any(self, endpoint: str, model: str = "m", **options: Any) -> Deployment:
        given = RunPodOptions.model_validate({"endpoint": endpoint, **options})
        return self.provider.bind(model, given)

    async def ask(
        self, endpoint: str, request: GenerateRequest | None = None, **options: Any
    ) -> Asked:
        """Ask to the end; a failure is kept."""
        return await ask(self.bind_any(endpoint, **options), request)


@asynccontextmanager
async def asking(app: RunPod, tmp_path: Path, poll_seconds: float) -> AsyncIterator[Asking]:
    http = open_http(RunPodSettings.model_validate({"api_key": app.key}))
    try:
        yield Asking(app, http, tmp_path, poll_seconds)
    finally:
        await http.aclose()
