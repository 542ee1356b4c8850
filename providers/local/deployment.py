"""Local models as deployments: behind a supervised child, or at an address."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

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
    UpstreamFailed,
    UpstreamUnreachable,
)
from providers.local.frames import as_unstreamed, without_progress
from providers.local.supervisor import Supervisor
from providers.toolkit.http import connection_refused
from providers.toolkit.openai_chat import DIALECT, ChatEndpoint, chat_events, request_body

EXIT_NOTICE_SECONDS = 0.25  # a broken connection is seen before the end of the process behind it
PROBE_READ_TIMEOUT_SECONDS = 5.0
PROBED: dict[int, ProbeState] = {200: "ready", 503: "booting"}


class ChildDeployment:
    """A model whose server is started by the first request and ended when it is idle."""

    def __init__(
        self,
        http: Http,
        supervisor: Supervisor,
        model: str,
        *,
        chat_path: str,
        keep_alive_seconds: float | None,
        reports_progress: bool,
    ) -> None:
        self.supervisor = supervisor
        self._http = http
        self._model = model
        self._chat_path = chat_path
        self._progress = {"return_progress": True} if reports_progress else {}
        self._capabilities = Capabilities(dialect=DIALECT, keep_alive_seconds=keep_alive_seconds)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        # First of all: a request that cannot be said must not boot anything.
        request_body(ChatEndpoint("", self._model), request)
        with self.supervisor.lease() as lease:
            if lease.booted:
                yield Booting(evidence="process_started", caused_boot=lease.caused)
                instance = await lease.ready()
                yield Started(instance_id=instance.id)
            else:
                instance = await lease.ready()
                yield Started(instance_id=instance.id, evidence="scale_state")
            endpoint = ChatEndpoint(
                instance.base_url + self._chat_path,
                self._model,
                headers=instance.headers,
                extra_body=self._progress,
            )
            try:
                async with aclosing(_chat(self._http, endpoint, request)) as events:
                    async for event in events:
                        yield event
            except (UpstreamFailed, UpstreamUnreachable) as error:
                if error.upstream_status is None:
                    # So that a retry starts a new engine and does not meet the dead one.
                    if await instance.child.exited(within_seconds=EXIT_NOTICE_SECONDS):
                        raise UpstreamFailed("The local engine ended unexpectedly.") from error
                raise

    async def probe(self) -> ProbeState:
        return self.supervisor.state


class UrlDeployment:
    """A model at a server that runs already, and that is somebody else's to start and end.

    A verdict rests only on what the server says: nothing is claimed from an ordinary answer.
    """

    def __init__(
        self, http: Http, endpoint: ChatEndpoint, ready_url: str, waits_when_refused: bool
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._ready_url = ready_url
        self._waits_when_refused = waits_when_refused

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(dialect=DIALECT)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        try:
            async with aclosing(_chat(self._http, self._endpoint, request)) as events:
                async for event in events:
                    yield event
        except UpstreamUnreachable as error:
            if not (self._waits_when_refused and connection_refused(error)):
                raise
            raise ModelLoading(
                "The local server does not take connections yet.", evidence="connection_refused"
            ) from error

    async def probe(self) -> ProbeState:
        """Asks only ``ready_path``: other paths wake some servers, or generate."""
        try:
            async with self._http.send(
                "GET",
                self._ready_url,
                headers=self._endpoint.headers,
                read_timeout_seconds=PROBE_READ_TIMEOUT_SECONDS,
            ) as response:
                return PROBED.get(response.status, "unknown")
        except UpstreamUnreachable:
            return "down"
        except ProviderError:
            return "unknown"


def _chat(
    http: Http, endpoint: ChatEndpoint, request: GenerateRequest
) -> AsyncGenerator[Event, None]:
    events = chat_events(http, endpoint, replace(request, stream=True))
    if endpoint.extra_body and not request.extra.get("return_progress"):
        events = without_progress(events)
    return events if request.stream else as_unstreamed(events)
