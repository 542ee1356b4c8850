"""Functions and methods of deployed classes, called through the SDK."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Literal

from providers.contract import (
    Accepted,
    Booting,
    Capabilities,
    Event,
    GenerateRequest,
    Hardware,
    JobReport,
    ModelNotFound,
    ProbeState,
    ProviderError,
    RequestRejected,
    Started,
)
from providers.modal.answer import Answer
from providers.modal.api import Api, Target
from providers.modal.evidence import Containers, phases_of
from providers.modal.options import ModalOptions
from providers.modal.scaling import Lookup, Scaled
from providers.modal.stamps import stamp_of
from providers.toolkit.jobs import running_job
from providers.toolkit.mapping import model_input

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


class FunctionDeployment:
    """``unary`` returns its answer, ``streaming`` yields it; a request takes the one it asks for.

    Scalable, probeable and, but for streams, reconcilable by call id.
    """

    def __init__(
        self,
        api: Api,
        options: ModalOptions,
        containers: Containers,
        *,
        unary: Lookup | None,
        streaming: Lookup | None,
    ) -> None:
        self._api = api
        self._options = options
        self._containers = containers
        self._unary = unary
        self._streaming = streaming
        one = unary or streaming
        assert one is not None
        self._lookup = one
        self._scaled = Scaled(one)

    @property
    def capabilities(self) -> Capabilities:
        """Generators cannot be cancelled; calls that return can."""
        return Capabilities(
            cancels=self._streaming is None,
            cancels_whole=self._unary is not None,
            reports_seconds=True,
        )

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        arguments = self._arguments(request)  # first: a request that cannot be said boots nothing
        streams = self._streaming is not None and (request.stream or self._unary is None)
        lookup = self._streaming if streams else self._unary
        assert lookup is not None
        with _forgetting(lookup):
            target = await lookup.target()
            self._check(target, streams)
            opening = None
            if self._options.read_scale:
                opening = await Scaled(lookup).before_the_call()
            answer = Answer(self._options.output, self._containers, opening, streamed=streams)
            call = self._stream if streams else self._call
            async with aclosing(call(target, arguments, answer, opening)) as events:
                async for event in events:
                    yield event

    async def probe(self) -> ProbeState:
        return await self._scaled.probe()

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        await self._scaled.set(minimum, maximum)

    async def hardware(self) -> Hardware:
        """GPUs, cores and memory as the app requests them: what a price is put on."""
        return (await self._lookup.target()).facts.hardware

    async def lookup(self, job_id: str) -> JobReport | None:
        try:
            outcome = await self._api.outcome(job_id, wait=False)
        except ModelNotFound:
            return None
        if outcome is None:
            return JobReport(job_id, "running")
        ended: Literal["succeeded", "failed"] = "succeeded" if outcome.error is None else "failed"
        return JobReport(
            job_id,
            "cancelled" if outcome.cancelled else ended,
            phases=phases_of(job_id, outcome),
            created_at=stamp_of(job_id, outcome.started_at),
            completed_at=outcome.ended_at,
            failure=outcome.error,
        )

    async def _call(
        self,
        target: Target,
        arguments: Arguments,
        answer: Answer,
        opening: Booting | Started | None,
    ) -> AsyncGenerator[Event, None]:
        async with running_job(lambda: target.spawn(*arguments), self._api.cancel) as job:
            call_id = job.created
            yield Accepted(call_id)
            if opening is not None:
                yield opening
            outcome = await self._api.outcome(
                call_id, wait=True, allow_pickle=self._options.allow_pickle
            )
            assert outcome is not None  # it was waited for
            job.ended()
        said = phases_of(call_id, outcome, self._containers)
        events: list[Event] = []
        failure = outcome.error
        if failure is None:
            try:
                events = list(answer.take(outcome.value))
            except ProviderError as error:
                failure = error
        begun = Started(outcome.container_id, reported_at=outcome.started_at)
        if isinstance(opening, Booting):
            yield begun
        elif opening is None and failure is not None and not failure.spends:
            yield begun  # a refusal by the function itself was worked for, and bills
        if failure is not None:
            failure.job_id, failure.usage = call_id, answer.usage
            failure.phases = answer.phases(said)
            raise failure
        for event in events:
            yield event
        yield answer.finished(answer.phases(said))

    async def _stream(
        self,
        target: Target,
        arguments: Arguments,
        answer: Answer,
        opening: Booting | Started | None,
    ) -> AsyncGenerator[Event, None]:
        if opening is not None:
            yield opening
        try:
            async with aclosing(target.stream(*arguments)) as items:
                async for item in items:
                    for event in answer.take(item):
                        yield event
        except ProviderError as error:
            error.usage, error.phases = answer.usage, answer.phases()
            raise
        yield answer.finished(answer.phases())

    def _arguments(self, request: GenerateRequest) -> Arguments:
        if request.task != "generate":
            raise RequestRejected("This deployment only generates.", param="task")
        made = model_input(self._options.input, request)
        return ((made,), {}) if self._options.input == "payload" else ((), made)

    def _check(self, target: Target, streams: bool) -> None:
        """Raises ModelNotFound with words for the operator, before anything is called."""
        facts = target.facts
        if facts.is_web:
            raise ModelNotFound("This Modal function is a web endpoint: configure its url.")
        if facts.yields != streams:
            raise ModelNotFound(
                "This Modal function yields its answer: configure it as stream_method."
                if facts.yields
                else "This Modal function, the stream_method, does not yield its answer."
            )
        if not facts.speaks_cbor and not self._options.allow_pickle:
            raise ModelNotFound(
                "This Modal function speaks pickle alone, which can hold code: deploy it with a "
                "newer Modal, or set allow_pickle."
            )


@contextmanager
def _forgetting(lookup: Lookup) -> Iterator[None]:
    try:
        yield
    except ProviderError as error:
        lookup.forget_after(error)
        raise
