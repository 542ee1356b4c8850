"""From configuration to deployments, and from a request to a job."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from providers.contract import (
    Accepted,
    Capabilities,
    Deployment,
    Event,
    GenerateRequest,
    Hardware,
    Host,
    JobReport,
    ProbeState,
    ProviderError,
    RequestRejected,
)
from providers.runpod import workers
from providers.runpod.api import Endpoint
from providers.runpod.errors import failure
from providers.runpod.evidence import phases_of
from providers.runpod.following import Following
from providers.runpod.job import ENDED, Job
from providers.runpod.options import RunPodOptions, RunPodSettings
from providers.runpod.output import ChatOutput, HandlerOutput, Told
from providers.toolkit.jobs import running_job
from providers.toolkit.mapping import model_input
from providers.toolkit.openai_chat import DIALECT, ChatEndpoint, request_body

# The bounds of a job's time to live: send-requests, as recorded 2026-08-20.
SHORTEST_LIFE_SECONDS = 10
LONGEST_LIFE_SECONDS = 7 * 24 * 3600
CHAT_ROUTE = "/v1/chat/completions"


class QueueDeployment:
    """One endpoint; its jobs can be asked about for half an hour after they ended."""

    def __init__(
        self, endpoint: Endpoint, model: str, options: RunPodOptions, poll_seconds: float
    ) -> None:
        self._endpoint = endpoint
        self._options = options
        self._poll_seconds = poll_seconds
        self._chat = ChatEndpoint("", model, extra_body=options.extra_body)
        reads_workers = options.read_workers and not options.public
        self._starts = workers.Starts() if reads_workers else None

    @property
    def capabilities(self) -> Capabilities:
        public = self._options.public
        return Capabilities(
            dialect=DIALECT if self._options.api == "openai" else None,
            reports_seconds=True,
            keep_alive_seconds=None if public else self._options.idle_timeout_seconds,
        )

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        order = {"input": self._input(request), **_policy(request)}
        told = self._told()
        async with running_job(lambda: self._endpoint.run(order), self._cancel) as running:
            created = running.created
            yield Accepted(created.id, created.answered_at)
            with Following(
                self._endpoint,
                created,
                told,
                streams=self._streams(request),
                poll_seconds=self._poll_seconds,
                warm_below_seconds=self._options.warm_below_seconds,
                starts=self._starts,
            ) as following:
                try:
                    async with aclosing(following.events()) as events:
                        async for event in events:
                            yield event
                    if following.job.status != "COMPLETED":
                        raise failure(following.job)
                    yield told.finished(await following.phases())
                except ProviderError as error:
                    error.job_id = error.job_id or created.id
                    error.usage = error.usage or told.usage
                    if following.job.ended:
                        error.phases = await following.phases()
                    raise
                finally:
                    if following.job.ended:
                        running.ended()

    async def lookup(self, job_id: str) -> JobReport | None:
        """What RunPod says about a job: while it lives, and half an hour after it ended."""
        job = await self._endpoint.status(job_id)
        if job is None:
            return None
        if not job.ended:
            return JobReport(job_id, "running")
        phases = phases_of(job, self._options.warm_below_seconds)
        return JobReport(
            job_id,
            ENDED[job.status],
            self._usage_of(job),
            phases,
            failure=None if job.status == "COMPLETED" else failure(job, phases),
        )

    async def _cancel(self, job: Job) -> None:
        await self._endpoint.cancel(job.id)

    def _streams(self, request: GenerateRequest) -> bool:
        if self._options.api == "openai":
            return request.stream  # a whole completion stands in the job's output
        return self._options.streams

    def _told(self) -> Told:
        return ChatOutput() if self._options.api == "openai" else HandlerOutput(self._options)

    def _usage_of(self, job: Job) -> Any:
        """The counts in a whole output; None: none there, or it cannot be read."""
        told = self._told()
        try:
            for _ in told.rest(job.output, None):
                pass
        except ProviderError:
            return None
        return told.usage

    def _input(self, request: GenerateRequest) -> dict[str, Any]:
        """Raises RequestRejected for what cannot be said; nothing is sent."""
        if request.task != "generate":
            raise RequestRejected("This deployment only generates.", param="task")
        if self._options.api == "handler":
            return model_input(self._options.input, request)
        return {"openai_route": CHAT_ROUTE, "openai_input": request_body(self._chat, request)}


class RunPodDeployment(QueueDeployment):
    """One endpoint of the account's own."""

    async def probe(self) -> ProbeState:
        return await workers.probe(self._endpoint)

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        await workers.scale(self._endpoint, minimum, maximum)

    async def hardware(self) -> Hardware:
        return await workers.hardware(self._endpoint)


class WarmableDeployment(RunPodDeployment):
    """One whose handler knows an input that asks for nothing."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        options: RunPodOptions,
        poll_seconds: float,
        warm_input: dict[str, Any],
    ) -> None:
        super().__init__(endpoint, model, options, poll_seconds)
        self._warm_input = warm_input

    async def warm(self) -> None:
        """Queue a job that a worker must be up for. Nobody waits for it, and it bills its boot."""
        await self._endpoint.run({"input": self._warm_input})


class RunPodProvider:
    """One account; its deployments share one pool of connections."""

    def __init__(self, settings: RunPodSettings, host: Host) -> None:
        self._settings = settings
        self._host = host

    def bind(self, model: str, options: RunPodOptions) -> Deployment:
        endpoint = Endpoint(self._host.http, self._settings, options.endpoint)
        poll_seconds = self._settings.poll_seconds
        if options.public:
            return QueueDeployment(endpoint, model, options, poll_seconds)
        if options.warm_input is None:
            return RunPodDeployment(endpoint, model, options, poll_seconds)
        return WarmableDeployment(endpoint, model, options, poll_seconds, options.warm_input)

    async def aclose(self) -> None:
        """Nothing of its own: the HTTP client is the host's."""


def _policy(request: GenerateRequest) -> dict[str, Any]:
    """The gateway's deadline, for the day when nobody is left to cancel; in milliseconds.

    ``ttl`` counts from submission and ends a job wherever it stands; afterwards it may not be known
    any more. ``executionTimeout`` is left to the endpoint: a request's own could only raise it.
    """
    if request.deadline_seconds is None:
        return {}
    seconds = min(LONGEST_LIFE_SECONDS, math.ceil(request.deadline_seconds))
    return {"policy": {"ttl": max(SHORTEST_LIFE_SECONDS, seconds) * 1000}}
