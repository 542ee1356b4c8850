"""A prediction under way, followed by its stream, or by looking at it, until it has ended.

The stream brings text as it comes and says nothing of seconds; looks bring status and stamps. A
stream that breaks is opened again after the last event read (``Last-Event-ID``; whether Replicate
honours it is not documented, so what came before is dropped by its id), and where that fails, the
rest of the text is taken from the prediction itself. What was told is never told twice, and an
answer that cannot be put together without doubt is ``StreamInterrupted``. Where no stream is read,
a bell ends the pause before the next look.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import anyio

from providers.contract import (
    Booting,
    Event,
    ProtocolViolation,
    ProviderError,
    Queued,
    Started,
    StreamInterrupted,
    UpstreamFailed,
)
from providers.replicate.api import Api
from providers.replicate.output import OutputTold
from providers.replicate.prediction import UNDER_WAY, Prediction, StartRule
from providers.replicate.stream import StreamReader
from providers.replicate.webhook import Bell
from providers.toolkit.jobs import backoff_seconds
from providers.toolkit.mapping import OutputRule
from providers.toolkit.sse import SseEvent

REOPENINGS = 3
FAILED_LOOKS = 5  # in a row; each is one GET
_FIRST_PAUSE = 1 / 8  # of the longest


class Following:
    """``events`` ends when the prediction has; ``prediction`` is then what it said last.

    ``reported`` is false where the stream came to its good end and no look succeeded after it.
    """

    def __init__(
        self,
        api: Api,
        prediction: Prediction,
        rule: StartRule,
        output_rule: OutputRule,
        poll_seconds: float,
        bell: Bell,
    ) -> None:
        self.prediction = prediction
        self.reported = True
        self._api = api
        self._rule = rule
        self._output = OutputTold(output_rule)
        self._poll_seconds = poll_seconds
        self._bell = bell
        self._pauses = self._new_pauses()
        self._failed_looks = 0
        self._told = 0  # 1 Queued, 2 Booting, 3 Started
        self._ids: set[str] = set()  # of this connection's events
        self._ids_before: set[str] = set()  # of all connections before
        self._last_id = ""
        self._connections = 0
        self._complete = False  # the stream said so

    @property
    def over(self) -> bool:
        """Nothing is left to cancel."""
        return self.prediction.ended or not self.reported

    async def events(self) -> AsyncGenerator[Event, None]:
        for event in self._phases():
            yield event
        url = self.prediction.stream_url()
        streams = url is not None and self._output.streams and self._api.trusted(url)
        if streams and url is not None and not self.prediction.ended:
            async with aclosing(self._from_stream(url)) as events:
                async for event in events:
                    yield event
        while not self.prediction.ended:
            failed = await self._look()
            if failed is None:
                for event in self._phases():
                    yield event
                if streams and not self.prediction.ended and not self._complete:
                    for event in self._output.rest(self.prediction):
                        yield event
            elif not failed.retryable or self._failed_looks >= FAILED_LOOKS:
                if not self._complete:
                    raise failed
                self.reported = False
                return
            if self.prediction.ended:
                break
            if failed is not None and failed.retry_after_seconds is not None:
                await anyio.sleep(max(failed.retry_after_seconds, next(self._pauses)))
            elif await self._bell.sleep(next(self._pauses)):
                self._pauses = self._new_pauses()
        if self.prediction.status == "succeeded":
            whole = self._complete and self._connections == 1
            try:
                for event in self._output.rest(self.prediction, complete=whole):
                    yield event
            except StreamInterrupted as error:
                error.usage = self.prediction.usage
                error.phases = self._rule.phases(self.prediction)
                raise

    # -- the stream ---------------------------------------------------------------------------

    async def _from_stream(self, url: str) -> AsyncGenerator[Event, None]:
        """Ends when the stream is over, or is of no use."""
        while self._connections <= REOPENINGS:
            self._connections += 1
            self._ids_before |= self._ids
            self._ids = set()
            async with StreamReader(self._api, url, self._last_id) as reader:
                while not reader.ended:
                    came = await reader.next(next(self._pauses))
                    if came:
                        self._pauses = self._new_pauses()
                        pieces, over = self._sift(came)
                        for event in self._output.streamed(pieces, self.prediction):
                            yield event
                        if over:
                            return
                    elif not reader.ended and await self._look() is None:
                        for event in self._phases():
                            yield event
                        if self.prediction.ended:
                            return
            if reader.refused or await self._look() is not None or self.prediction.ended:
                return
            await anyio.sleep(reader.retry_seconds or next(self._pauses))

    def _sift(self, came: list[SseEvent]) -> tuple[list[SseEvent], bool]:
        """The new pieces of output, and whether the stream is over."""
        pieces: list[SseEvent] = []
        for event in came:
            if event.event in ("done", "error"):
                # Why it ended, and what with, is said better by the prediction.
                self._complete = event.event == "done" and b'"reason"' not in event.data
                return pieces, True
            if self._connections > 1 and not event.id:
                return pieces, True  # nobody can say whether this was read before
            self._ids.add(event.id)
            if event.id in self._ids_before:
                continue
            self._last_id = event.id
            if event.event == "output":
                pieces.append(event)
        return pieces, False

    # -- looking ------------------------------------------------------------------------------

    async def _look(self) -> ProviderError | None:
        """See how it stands, by one GET; or why that failed."""
        try:
            found = await self._api.get(self.prediction.id)
        except ProviderError as error:
            self._failed_looks += 1
            return error
        if found is None:
            raise UpstreamFailed("The provider does not know its prediction any more.")
        self._failed_looks = 0
        self.prediction = found
        return None

    def _phases(self) -> Iterator[Event]:
        """What is new about the start. Raises ProtocolViolation on an end that nobody knows.

        A status that nobody knows is none as long as nothing says when it ended.
        """
        seen = self.prediction
        if not seen.ended and seen.status not in UNDER_WAY and seen.completed is not None:
            raise ProtocolViolation("Replicate said a status that is not known.", job_id=seen.id)
        if self._output.begun:
            return  # too late to be told
        if self._told < 1 and seen.started is None and not seen.ended:
            self._told = 1
            yield Queued(seen.created)
        start = self._rule.start_of(seen.wait_seconds)
        if self._told < 2 and start == "cold":
            self._told = 2
            yield Booting("timestamps_reported", reported_at=seen.created)
        if self._told < 3 and seen.started is not None:
            warm = start == "warm" and self._told < 2
            self._told = 3
            yield Started(
                evidence="timestamps_reported" if warm else None, reported_at=seen.started
            )

    def _new_pauses(self) -> Iterator[float]:
        return backoff_seconds(self._poll_seconds * _FIRST_PAUSE, 1.5, self._poll_seconds)
