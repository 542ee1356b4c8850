"""An account at the emulated Replicate, asked as ``tests.adapters.asking`` does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from providers.contract import Deployment, GenerateRequest, Host, Http
from providers.replicate import ReplicateOptions, ReplicateSettings, plugin
from providers.testing.contract_suite import seen
from providers.toolkit.http import open_http
from tests.adapters.asking import Asked, ask
from tests.emulators.replicate import Replicate


class Asking:
    """One account at the emulator."""

    def __init__(self, app: Replicate, http: Http, tmp_path: Path, poll_seconds: float) -> None:
        self.app = app
        block = {"base_url": f"{app.url}/v1", "api_token": app.key, "poll_seconds": poll_seconds}
        settings = ReplicateSettings.model_validate(block)
        self.provider = plugin.build(settings, Host(http, tmp_path))

    def bind(self, model: str, **options: Any) -> Deployment:
        return self.provider.bind(model, ReplicateOptions.model_validate(options))

    async def ask(
        self,
        model: str = "emulated/warm",
        request: GenerateRequest | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Asked:
        """Ask to the end; a failure is kept."""
        return await ask(self.bind(model, **(options or {})), request)


@asynccontextmanager
async def asking(app: Replicate, tmp_path: Path, poll_seconds: float) -> AsyncIterator[Asking]:
    """An account; no task of its making may be left behind."""
    http = open_http(ReplicateSettings.model_validate({"api_token": app.key}))
    try:
        yield Asking(app, http, tmp_path, poll_seconds)
    finally:
        await http.aclose()
    await seen(lambda: not _adapters_tasks())


def _adapters_tasks() -> list[str]:
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(("StreamReader", "_as_coroutine"))]
