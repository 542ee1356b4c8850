"""What can be configured about local engines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from providers.contract import DeploymentOptions, ProviderSettings
from providers.local.dialects import ServerName

EMBEDDED_ONLY = {"context_tokens", "slots", "threads", "default_max_output_tokens"}
CHILD_ONLY = {"idle_timeout_seconds", "boot_timeout_seconds"}
COMMAND_ONLY = {"environment"}
URL_ONLY = {"waits_when_refused", "server", "keep_alive_seconds"}
OLLAMA_ONLY = {"keep_alive_seconds", "context_tokens"}


class LocalSettings(ProviderSettings):
    """``base_url`` and ``headers`` are for servers that run already (the option ``url``)."""


class LocalOptions(DeploymentOptions):
    """Three ways to run: the embedded engine, any other server by ``command``, one by ``url``.

    The embedded engine's ``model`` is ``smollm2-135m-instruct`` or the path of a .gguf file;
    otherwise it is the name that the server knows.
    """

    idle_timeout_seconds: float | None = Field(default=300.0, ge=0)
    """An engine that nobody has used for so long is ended; null keeps it for ever."""
    boot_timeout_seconds: float = Field(default=600.0, gt=0)
    """An engine that is not ready after so long is given up."""

    context_tokens: int = Field(default=4096, ge=64)
    """The longest prompt and answer together, in tokens; memory is taken for each slot.

    For Ollama by ``url`` it is ``num_ctx``, sent only where it is set here.
    """
    slots: int = Field(default=2, ge=1)
    """Requests worked on at the same time; further ones wait in the engine, without a limit."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the embedded engine; null: half of the processors that it may use."""
    default_max_output_tokens: int = Field(default=512, ge=1)
    """The longest answer to a request that names no limit."""

    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Another server to run, as a list of arguments with {port}, {model} and {api_key} filled in.

    Arguments can be read by every local user: give the key by ``environment`` where the server
    allows it. The server must listen on 127.0.0.1.
    """
    environment: dict[str, SecretStr] = Field(default_factory=dict)
    """Environment variables for the command, with the same names filled in."""
    ready_path: str | None = Field(default=None, pattern="^/")
    """Answers 200 when the model is loaded, without waking or generating.

    Null: what is usual for the ``server``, /health for a plain one.
    """
    chat_path: str = Field(default="/v1/chat/completions", pattern="^/")
    """Where the server takes chat completions."""

    url: str | None = Field(default=None, pattern="^https?://")
    """A server that runs already: its address without a path, http://127.0.0.1:8000 say."""
    server: ServerName = "plain"
    """What runs there, so that its loads, sleeps and seconds are understood.

    ``plain`` claims nothing but "loading" and "refused". ``ollama`` and ``lmstudio`` are spoken to
    in their own APIs.
    """
    keep_alive_seconds: int | None = Field(default=None, ge=-1)
    """How long Ollama keeps the model in memory after a call; -1: for ever; null: its own default.
    """
    api_key: SecretStr | None = None
    """The server's key. Where a command names {api_key} and this is null, each start gets one."""
    waits_when_refused: bool = False
    """The server may be starting when it refuses a connection: wait for it, as for a boot."""

    @model_validator(mode="after")
    def _no_key_is_ignored(self) -> LocalOptions:
        if self.command is not None and self.url is not None:
            raise ValueError("command and url exclude each other")
        unused = EMBEDDED_ONLY | URL_ONLY if self.command is not None else set()
        if self.url is not None:
            unused = EMBEDDED_ONLY | CHILD_ONLY | COMMAND_ONLY | OLLAMA_ONLY
            if self.server == "ollama":
                unused -= OLLAMA_ONLY
                unused.add("chat_path")
        elif self.command is None:
            unused = COMMAND_ONLY | URL_ONLY | {"ready_path", "chat_path", "api_key"}
        if ignored := sorted(unused & self.model_fields_set):
            raise ValueError(f"without a use here: {', '.join(ignored)}")
        return self
