"""Models behind a supervised child; those at an address stand in ``url``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from datetime import datetime

from providers.contract import (
    Booting,
    Capabilities,
    Event,
    GenerateRequest,
    Http,
    ProbeState,
    Started,
    UpstreamFailed,
    UpstreamUnreachable,
)
from providers.local.ends import Ends
from providers.local.speech import chat
from providers.local.supervisor import Supervisor
from providers.toolkit.openai_chat import DIALECT, ChatEndpoint, request_body

EXIT_NOTICE_SECONDS = 0.25  # a broken connection is seen before the end of the process behind it


class ChildDeployment:
    """A model whose server is started by the first request and ended when it is idle."""

    def __init__(
        self,
        http: Http,
        supervisor: Supervisor,
        model: str,
        *,
        ends: Ends,
        chat_path: str,
        keep_alive_seconds: float | None,
        reports_progress: bool,
    ) -> None:
        self.supervisor = supervisor
        self._ends = ends
        self._http = http
        self._model = model
        self._chat_path = chat_path
        self._progress = {"return_progress": True} if reports_progress else {}
        self._keeping: ExitStack | None = None
        self._capabilities = Capabilities(
            dialect=DIALECT, keep_alive_seconds=keep_alive_seconds, ends_boots=True
        )

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
                async with aclosing(chat(self._http, endpoint, request)) as events:
                    async for event in events:
                        yield event
            except (UpstreamFailed, UpstreamUnreachable) as error:
                if error.upstream_status is None:
                    # So that a retry starts a new engine and does not meet the dead one.
                    if await instance.child.exited(within_seconds=EXIT_NOTICE_SECONDS):
                        raise UpstreamFailed("The local engine ended unexpectedly.") from error
                raise

    def ended_by(self, now: datetime) -> datetime | None:
        """See ``EndsWithGateway``."""
        return self._ends.ended_by(now)

    async def probe(self) -> ProbeState:
        return self.supervisor.state

    def watch(self, tell: Callable[[ProbeState], None]) -> None:
        """See ``Supervised``."""
        self.supervisor.watch(tell)

    async def warm(self) -> None:
        """Have the engine run, without any work. Raises: ProviderError.

        Leaving ends the boot, unless others wait for it: see ``Supervisor``.
        """
        await self.supervisor.boot()

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        """Keep the engine (``minimum`` > 0), or let its idle time begin. There is one at most."""
        if minimum > 0 and self._keeping is None:
            with ExitStack() as keeping:
                lease = keeping.enter_context(self.supervisor.lease())
                await lease.ready()
                self._keeping = keeping.pop_all()
        elif minimum == 0 and self._keeping is not None:
            keeping, self._keeping = self._keeping, None
            keeping.close()
