"""From configuration to deployments, and from a request to a prediction."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime

from providers.contract import (
    Accepted,
    Capabilities,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Host,
    JobReport,
    ProviderPlugin,
)
from providers.replicate.api import CALL_SECONDS, Api
from providers.replicate.errors import failure
from providers.replicate.following import Following
from providers.replicate.history import find, report
from providers.replicate.input import ModelInput
from providers.replicate.options import (
    Reference,
    ReplicateOptions,
    ReplicateSettings,
    reference,
)
from providers.replicate.prediction import Prediction, StartRule
from providers.replicate.webhook import Webhooks
from providers.toolkit.jobs import running_job

SHORTEST_DEADLINE_SECONDS = 5  # reference, Cancel-After: "The minimum allowed duration"


class ReplicateDeployment:
    """One model; its predictions can be asked about afterwards."""

    def __init__(
        self,
        api: Api,
        webhooks: Webhooks,
        target: Reference,
        options: ReplicateOptions,
        poll_seconds: float,
    ) -> None:
        self._api = api
        self._webhooks = webhooks
        self._target = target
        self._options = options
        self._poll_seconds = poll_seconds
        self._rule = StartRule(options.warm_below_seconds, options.cold_after_seconds)
        self._input = ModelInput(api, target.schema_path, options.input)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(reports_seconds=True)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        # First of all: a request that cannot be said must not start anything.
        body = {"input": await self._input.of(request), **self._webhooks.asked_for}
        if self._target.version is not None:
            body["version"] = self._target.version
        hold_seconds = self._hold_seconds(request)
        headers = {"prefer": f"wait={hold_seconds}"} if hold_seconds else {}
        if request.deadline_seconds is not None:
            # Theirs goes on counting when nobody here is left to cancel.
            seconds = max(SHORTEST_DEADLINE_SECONDS, math.ceil(request.deadline_seconds))
            headers["cancel-after"] = f"{seconds}s"
        async with running_job(
            lambda: self._api.create(self._target.create_path, body, headers, hold_seconds),
            self._cancel,
            create_seconds=CALL_SECONDS + hold_seconds,
        ) as running:
            created = running.created
            yield Accepted(created.id, created.created)
            with self._webhooks.following(created.id) as bell:
                following = Following(
                    self._api, created, self._rule, self._options.output, self._poll_seconds, bell
                )
                try:
                    async with aclosing(following.events()) as events:
                        async for event in events:
                            yield event
                finally:
                    if following.over:
                        running.ended()
                        bell.heard = True
        last = following.prediction
        if not following.reported:
            yield Finished()
            return
        phases = self._rule.phases(last)
        if last.status != "succeeded":
            raise failure(last, phases, had_deadline="cancel-after" in headers)
        yield Finished((), last.usage, phases, (last.as_native(),))

    def most_output_tokens(self, request: GenerateRequest) -> int | None:
        """By the input itself, or by the default of the model's own schema."""
        return self._input.most_output_tokens(request)

    async def aclose(self) -> None:
        """Give up what is being read of the model."""
        await self._input.aclose()

    async def lookup(self, job_id: str) -> JobReport | None:
        """What Replicate says about a prediction; its stamps and counts outlive its output."""
        found = self._webhooks.told(job_id) or await self._api.get(job_id)
        return None if found is None else report(found, self._rule)

    def find(self, since: datetime, until: datetime) -> AsyncGenerator[JobReport, None]:
        """The predictions of this model, version or deployment, newest first."""
        return find(self._api, self._rule, since, until, self._target.made)

    async def _cancel(self, prediction: Prediction) -> None:
        await self._api.cancel(prediction.id)

    def _hold_seconds(self, request: GenerateRequest) -> int:
        """How long the first call may be held open for the whole answer; 0: not at all."""
        if request.stream:
            return 0
        if request.deadline_seconds is None:
            return self._options.hold_seconds
        return min(self._options.hold_seconds, math.floor(request.deadline_seconds))


class ScalableDeployment(ReplicateDeployment):
    """A deployment with machines of its own, whose number can be changed."""

    def __init__(
        self,
        api: Api,
        webhooks: Webhooks,
        target: Reference,
        options: ReplicateOptions,
        poll_seconds: float,
        deployment: str,
    ) -> None:
        super().__init__(api, webhooks, target, options, poll_seconds)
        self._deployment = deployment

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        """Keep ``minimum`` to ``maximum`` machines; Replicate takes 0 to 5 and 0 to 20."""
        bounds = {"min_instances": minimum}
        if maximum is not None:
            bounds["max_instances"] = maximum
        await self._api.scale(self._deployment, bounds)


class ReplicateProvider:
    """One account; its deployments share one pool of connections."""

    def __init__(self, settings: ReplicateSettings, host: Host) -> None:
        self._settings = settings
        self._api = Api(host.http, settings)
        self._webhooks = Webhooks(self._api, settings, host.webhook_path)
        self._bound: list[ReplicateDeployment] = []

    def bind(self, model: str, options: ReplicateOptions) -> Deployment:
        target = reference(model, options.deployment)
        known = (self._api, self._webhooks, target, options, self._settings.poll_seconds)
        if options.deployment is None:
            bound = ReplicateDeployment(*known)
        else:
            bound = ScalableDeployment(*known, options.deployment)
        self._bound.append(bound)
        return bound

    def find(self, since: datetime, until: datetime) -> AsyncGenerator[JobReport, None]:
        """All predictions of the account, newest first; starts are judged as by default."""
        usual = ReplicateOptions()
        rule = StartRule(usual.warm_below_seconds, usual.cold_after_seconds)
        return find(self._api, rule, since, until)

    async def notified(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str | None:
        """A webhook about a prediction that has ended; see ``Notifiable``."""
        return await self._webhooks.notified(headers, body, now)

    async def aclose(self) -> None:
        """The HTTP client is the host's; what is being read is given up."""
        for bound in self._bound:
            await bound.aclose()


plugin = ProviderPlugin(
    name="replicate",
    settings=ReplicateSettings,
    options=ReplicateOptions,
    build=ReplicateProvider,
    summary="Replicate: official models, versions and deployments",
    status="emulator only",
)
