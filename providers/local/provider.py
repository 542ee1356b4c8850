"""From configuration to deployments."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from functools import partial
from pathlib import Path

from providers.contract import Deployment, Host, ProviderPlugin
from providers.local import fetch, weights
from providers.local.deployment import ChildDeployment
from providers.local.dialects import DIALECTS
from providers.local.ends import Ends
from providers.local.engine import Settings
from providers.local.launch import CommandLaunch, EmbeddedLaunch, Launch
from providers.local.options import LocalOptions, LocalSettings
from providers.local.server import Server
from providers.local.supervisor import Supervisor
from providers.local.threads import default_threads
from providers.local.url import at_url


class LocalProvider:
    """Engines on this machine, one child for each deployment that needs one."""

    def __init__(self, settings: LocalSettings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._supervisors: list[Supervisor] = []
        self._servers: list[Server] = []
        self._ends = Ends(host.data_dir / "engines")

    def bind(self, model: str, options: LocalOptions) -> Deployment:
        url = options.url or (None if options.command else self._settings.base_url)
        if url is not None:
            return self._at_url(url.rstrip("/"), model, options)
        launch = (
            _embedded_launch(model, options, self._host.data_dir, self._ends)
            if options.command is None
            else self._command_launch(options.command, model, options)
        )
        supervisor = Supervisor(
            launch,
            idle_timeout_seconds=options.idle_timeout_seconds,
            boot_timeout_seconds=options.boot_timeout_seconds,
        )
        self._supervisors.append(supervisor)
        return ChildDeployment(
            self._host.http,
            supervisor,
            model,
            ends=self._ends,
            chat_path=options.chat_path,
            keep_alive_seconds=options.idle_timeout_seconds,
            reports_progress=options.command is None,
        )

    async def aclose(self) -> None:
        await asyncio.gather(
            *(supervisor.aclose() for supervisor in self._supervisors),
            *(server.aclose() for server in self._servers),
        )

    def _at_url(self, url: str, model: str, options: LocalOptions) -> Deployment:
        deployment = at_url(self._host.http, url, model, options)
        self._servers.append(deployment.server)
        return deployment

    def _command_launch(
        self, command: tuple[str, ...], model: str, options: LocalOptions
    ) -> Launch:
        if shutil.which(command[0]) is None:
            raise ValueError(f"command: {command[0]!r} is not a program that can be run")
        return CommandLaunch(
            self._host.http,
            command,
            model,
            environment={k: v.get_secret_value() for k, v in options.environment.items()},
            api_key=options.api_key.get_secret_value() if options.api_key else None,
            ready_path=options.ready_path or DIALECTS["plain"].ready_path,
            ends=self._ends,
        )


def prepare(
    model: str,
    options: LocalOptions,
    data_dir: Path,
    on_progress: weights.OnProgress | None = None,
) -> Path | None:
    """Have the embedded model's weights here and checked before the first request needs them.

    Blocks: 0.1 s where they are installed, longer where they must be fetched. None where the
    deployment needs no weights of ours. Raises: WeightsUnavailable with what to do.
    """
    embedded = weights.EMBEDDED.get(model)
    if embedded is None or options.command is not None or options.url is not None:
        return None
    return fetch.ensure(embedded, data_dir, on_progress)


def _embedded_launch(model: str, options: LocalOptions, data_dir: Path, ends: Ends) -> Launch:
    if importlib.util.find_spec("xllamacpp") is None:
        raise ValueError(
            "the embedded engine is not installed: "
            "pip install 'serverless-inference-gateway[local]', or configure a command or a url"
        )
    embedded = weights.EMBEDDED.get(model)
    path = Path(model).expanduser().absolute()
    if embedded is None and not (path.suffix == ".gguf" and path.is_file()):
        raise ValueError(
            f"model: {model!r} is neither a .gguf file that exists nor an embedded model "
            f"({', '.join(weights.EMBEDDED)})"
        )
    settings: Settings = {
        "model_name": model,
        "context_tokens": options.context_tokens,
        "slots": options.slots,
        "threads": options.threads or default_threads(),
        "max_output_tokens": options.default_max_output_tokens,
        "temperature": embedded.temperature if embedded else None,
        "top_p": embedded.top_p if embedded else None,
    }
    if embedded is None:
        return EmbeddedLaunch(lambda: path, settings, ends)
    return EmbeddedLaunch(partial(weights.find, embedded, data_dir), settings, ends)


plugin = ProviderPlugin(
    name="local",
    settings=LocalSettings,
    options=LocalOptions,
    build=LocalProvider,
    summary="A llama.cpp engine of its own that scales to zero; or any server on this machine",
    status="emulator and real software",
)
