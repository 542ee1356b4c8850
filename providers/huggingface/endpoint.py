"""Dedicated endpoints: asleep, starting, up or paused, and how a call finds out which.

While a replica starts, the proxy answers 503 in words that nobody documents, sometimes 502; a
busy or broken endpoint answers 503 as well, and a paused one 400. So the answer alone says nothing:
the management API is asked, before the call where ``read_state_first`` is set, and after a refusal.
Source: https://huggingface.co/docs/inference-endpoints/guides/autoscaling (2026-08-20);
https://github.com/huggingface/huggingface_hub/issues/1605.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from providers.contract import (
    Booting,
    Capabilities,
    CapacityUnavailable,
    CredentialsRejected,
    Event,
    Finished,
    GenerateRequest,
    Http,
    ModelLoading,
    Phases,
    ProbeState,
    ProviderError,
    ProviderRetired,
    Started,
)
from providers.huggingface.calls import call_events, check
from providers.huggingface.payload import Place
from providers.huggingface.state import (
    READ_TIMEOUT_SECONDS,
    Boots,
    EndpointState,
    Management,
    stopped,
)
from providers.huggingface.wire import Wire
from providers.toolkit.http import READ_TIMEOUT_SECONDS as LONGEST_READ_SECONDS

_HELD_MARGIN_SECONDS = 60.0  # the proxy's own 503 must come before our time-out
# Answers that an endpoint which is not up has been seen to give. Others speak for themselves.
_TELLING = frozenset({400, 403, 404, 500, 502, 503, 504})
_STARTING = "The endpoint is starting."


class Endpoint:
    """An endpoint by its address alone.

    A refusal that no engine wrote may be a start, an outage or a pause. It is waited out as a
    boot, on the evidence ``latency_only``, which suggests a cold start and never asserts one.
    """

    def __init__(
        self, http: Http, place: Place, health_url: str, capabilities: Capabilities
    ) -> None:
        self._http = http
        self._place = place
        self._health_url = health_url
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        check(self._place, request)
        wire = Wire(self._http)
        try:
            async with aclosing(call_events(wire, self._place, request)) as events:
                async for event in events:
                    yield event
        except ProviderError as error:
            raise _perhaps_starting(error, wire) from error

    async def warm(self) -> None:
        """Wake it by asking for its health, which does no work. A refusal is the wake under way."""
        wire = Wire(self._http, read_timeout_seconds=READ_TIMEOUT_SECONDS)
        try:
            async with wire.send("GET", self._health_url, headers=self._place.headers):
                pass
        except (CredentialsRejected, ProviderRetired):
            raise
        except ProviderError as error:
            if error.upstream_status is None:
                raise


class ManagedEndpoint(Endpoint):
    """An endpoint whose state can be asked for, and whose replicas can be set."""

    def __init__(
        self,
        http: Http,
        place: Place,
        health_url: str,
        capabilities: Capabilities,
        management: Management,
        *,
        reads_first: bool,
        scale_up_timeout_seconds: int | None,
    ) -> None:
        super().__init__(http, place, health_url, capabilities)
        self._management = management
        self._reads_first = reads_first
        self._hold_seconds = scale_up_timeout_seconds
        self._boots = Boots()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        check(self._place, request)
        before = await self._management.read() if self._reads_first else None
        if (no_use := stopped(before)) is not None:
            raise no_use
        caused = None if before is None else self._boots.found(before)
        hold_seconds = self._holds(before, request)
        wire, place = self._wire(hold_seconds)
        answered = False
        if before is not None and hold_seconds is not None:
            yield Booting("scale_state", caused_boot=caused, detail=before.name)
        elif before is not None and before.is_running:
            yield Started(evidence="scale_state")
        failure: ProviderError
        try:
            async with aclosing(call_events(wire, place, request)) as events:
                async for event in events:
                    if not answered:
                        answered = True
                        self._boots.over()
                        if hold_seconds is not None:
                            yield Started()
                    yield _with_revision(event, before)
            return
        except ProviderError as error:
            engine = wire.error_says_why and error.upstream_status != 503
            if answered or engine or error.upstream_status not in _TELLING:
                raise
            failure = error
        after = await self._management.read()
        if after is None:
            raise _perhaps_starting(failure, wire) from failure
        if (no_use := stopped(after, refused=True)) is not None:
            raise no_use from failure
        found = self._boots.found(after, before_call=False)
        if before is None or not before.is_down_or_starting:
            if not after.is_down_or_starting:
                raise failure
            if before is not None and before.is_running:
                # It fell asleep between the two. Another attempt begins with what is true now.
                raise CapacityUnavailable(_STARTING, job_id=failure.job_id) from failure
            before, caused = after, found
        if hold_seconds is None:
            yield Booting("scale_state", caused_boot=caused, detail=before.name)
        raise ModelLoading(
            _STARTING,
            evidence="scale_state",
            job_id=failure.job_id,
            upstream_status=failure.upstream_status,
            retry_after_seconds=failure.retry_after_seconds,
        ) from failure

    async def probe(self) -> ProbeState:
        state = await self._management.read()
        return "unknown" if state is None else state.probe

    async def warm(self) -> None:
        state = await self._management.read()
        if (no_use := stopped(state)) is not None:
            raise no_use
        if state is not None:
            self._boots.found(state)  # whoever comes now waits for this boot, and not for its own
        if state is None or not (state.is_running or state.is_starting):
            await super().warm()

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        await self._management.scale(minimum, maximum)

    def _holds(self, before: EndpointState | None, request: GenerateRequest) -> int | None:
        """For how long the proxy shall hold this request; None: it shall refuse it meanwhile."""
        if before is None or not before.is_down_or_starting or not request.stream:
            return None
        return self._hold_seconds

    def _wire(self, hold_seconds: int | None) -> tuple[Wire, Place]:
        if hold_seconds is None:
            return Wire(self._http), self._place
        headers = {**self._place.headers, "x-scale-up-timeout": str(hold_seconds)}
        longest = max(LONGEST_READ_SECONDS, hold_seconds + _HELD_MARGIN_SECONDS)
        return Wire(self._http, read_timeout_seconds=longest), replace(self._place, headers=headers)


def _with_revision(event: Event, state: EndpointState | None) -> Event:
    if not isinstance(event, Finished) or state is None or state.revision is None:
        return event
    phases = event.phases or Phases()
    return replace(event, phases=replace(phases, revision=phases.revision or state.revision))


def _perhaps_starting(error: ProviderError, wire: Wire) -> ProviderError:
    """What a refusal means where the state is not known: a bare 502 or 503 may be a start."""
    if error.upstream_status not in (502, 503) or wire.error_says_why:
        return error
    if isinstance(error, ModelLoading):
        return error
    return ModelLoading(
        "The endpoint does not serve now; it may be starting.",
        evidence="latency_only",
        job_id=error.job_id,
        upstream_status=error.upstream_status,
        retry_after_seconds=error.retry_after_seconds,
    )
