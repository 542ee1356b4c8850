"""Models at a server that runs already, and that is somebody else's to start and end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from providers.contract import (
    Booting,
    Capabilities,
    Event,
    GenerateRequest,
    Http,
    ModelLoading,
    ProbeState,
    ProviderError,
    Started,
    UpstreamUnreachable,
)
from providers.local.dialects import DIALECTS
from providers.local.launch import ONE_CONNECTION_EACH
from providers.local.lmstudio import LmStudioSpeech
from providers.local.ollama import OllamaSpeech
from providers.local.options import LocalOptions
from providers.local.server import Server, State, waited_for
from providers.local.speech import ChatSpeech, Speech
from providers.toolkit.http import connection_refused
from providers.toolkit.openai_chat import ChatEndpoint, ColdWhen

LOADING = ColdWhen(503, "Loading model")  # llama.cpp's server, as soon as it listens


class UrlDeployment:
    """A verdict rests only on what the server says: nothing is claimed from an ordinary answer.

    Where the server's dialect knows how, the state of the model is read before each call: in
    memory proves "warm", not in memory is a boot that somebody has to wait for.
    """

    def __init__(
        self,
        http: Http,
        server: Server,
        speech: Speech,
        *,
        waits_when_refused: bool,
        keep_alive_seconds: float | None = None,
    ) -> None:
        self.server = server
        self._http = http
        self._speech = speech
        self._waits_when_refused = waits_when_refused
        self._capabilities = Capabilities(
            dialect=speech.dialect, keep_alive_seconds=keep_alive_seconds
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        self._speech.check(request)
        server = self.server
        state: State = "unknown"
        try:
            if server.dialect.looks_first and not self._speech.tells_boots(request):
                state = "asleep" if server.is_waking else await server.state()
                async with aclosing(self._prepare(state)) as events:
                    async for event in events:
                        yield event
            async with aclosing(self._speech.ask(self._http, request, state)) as events:
                async for event in events:
                    yield event
        except UpstreamUnreachable as error:
            if not (self._waits_when_refused and connection_refused(error)):
                raise
            raise ModelLoading(
                "The local server does not take connections yet.", evidence="connection_refused"
            ) from error

    async def probe(self) -> ProbeState:
        """Asks only paths that neither wake the model nor generate."""
        return await self.server.probe()

    async def _prepare(self, state: State) -> AsyncGenerator[Event, None]:
        if state == "booting":
            raise ModelLoading("The local server is loading its model.")
        if state == "ready":
            yield Started(evidence="scale_state")
        if state != "asleep":
            return
        dialect = self.server.dialect
        if dialect.wake is None or not dialect.wakes_first:
            yield Booting(evidence="scale_state")  # the call itself will load it
            return
        waking, caused = self.server.wake()
        yield Booting(evidence="scale_state", caused_boot=caused)
        try:
            await waited_for(waking)
        except ProviderError:
            if not dialect.wakes_itself:
                raise
        else:
            yield Started()


class WakingUrlDeployment(UrlDeployment):
    """One whose server can be told to load its model, and to let go of it."""

    async def warm(self) -> None:
        """Have the model in memory, without any work. Raises: ProviderError."""
        if self.server.is_waking or await self.server.state() != "ready":
            waking, _ = self.server.wake()
            await waited_for(waking)

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        """Keep one model in memory (``minimum`` > 0) or none (``maximum`` 0)."""
        if minimum > 0:
            await self.warm()
        elif maximum == 0 and self.server.dialect.sleep is not None:
            await self.server.send_to_sleep()


def at_url(http: Http, url: str, model: str, options: LocalOptions) -> UrlDeployment:
    """A deployment for a server at ``url``."""
    dialect = DIALECTS[options.server]
    headers = dict(ONE_CONNECTION_EACH)  # the provider block's are sent by the HTTP client
    if options.api_key is not None:
        headers["authorization"] = f"Bearer {options.api_key.get_secret_value()}"
    load_body: dict[str, Any] = {}
    if options.keep_alive_seconds is not None:
        load_body["keep_alive"] = options.keep_alive_seconds
    if options.server == "ollama" and "context_tokens" in options.model_fields_set:
        load_body["options"] = {"num_ctx": options.context_tokens}
    ready_path = options.ready_path or dialect.ready_path
    server = Server(http, url, model, dialect, ready_path, headers, load_body)
    endpoint = ChatEndpoint(
        url + options.chat_path,
        model,
        headers=headers,
        cold_when=(LOADING,),
        extra_body=dialect.extra_body,
    )
    speech: Speech = ChatSpeech(endpoint, dialect)
    if options.server == "ollama":
        speech = OllamaSpeech(url, model, headers, load_body)
    elif options.server == "lmstudio":
        speech = LmStudioSpeech(url, model, headers, ChatSpeech(endpoint, dialect))
    kept = options.keep_alive_seconds
    kind = UrlDeployment if dialect.wake is None else WakingUrlDeployment
    return kind(
        http,
        server,
        speech,
        waits_when_refused=options.waits_when_refused,
        keep_alive_seconds=kept if kept is not None and kept >= 0 else None,
    )
