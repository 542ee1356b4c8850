"""A job on a real socket: created late, polled, cancelled; nothing may be lost on any way out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from providers.contract import (
    Accepted,
    Event,
    Finished,
    Http,
    ProviderSettings,
    RateLimited,
    UpstreamFailed,
)
from providers.testing.contract_suite import seen
from providers.toolkit.http import open_http
from providers.toolkit.jobs import backoff_seconds, cancel_shielded, running_job


class Jobs:
    """POST / creates (after ``create_seconds``), GET /id polls, POST /id/cancel cancels."""

    def __init__(self) -> None:
        self.create_seconds = 0.0
        self.cancel_seconds = 0.0
        self.create_status = 201
        self.status = "running"
        self.asked = 0
        self.created = 0
        self.cancelled: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        answer: dict[str, Any] = {}
        status = 200
        if scope["method"] == "POST" and path == "/":
            self.asked += 1
            await asyncio.sleep(self.create_seconds)
            status = self.create_status
            if status == 201:
                self.created += 1
                answer = {"id": f"job-{self.created}"}
        elif path.endswith("/cancel"):
            await asyncio.sleep(self.cancel_seconds)
            self.cancelled.append(path.split("/")[1])
        else:
            answer = {"status": self.status}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


class Adapter:
    """What a job-polling adapter looks like with ``running_job``."""

    def __init__(self, http: Http, url: str) -> None:
        self.http = http
        self.url = url
        self.create_seconds = 5.0
        self.cancel_seconds = 5.0

    async def call(self, method: str, path: str) -> Any:
        async with self.http.send(method, self.url + path) as answer:
            if answer.status >= 400:
                raise UpstreamFailed
            return json.loads(await answer.read(1000))

    async def generate(self) -> AsyncGenerator[Event, None]:
        async with running_job(
            lambda: self.call("POST", "/"),
            lambda job: self.call("POST", f"/{job['id']}/cancel"),
            create_seconds=self.create_seconds,
            cancel_seconds=self.cancel_seconds,
        ) as job:
            yield Accepted(job.created["id"])
            for seconds in backoff_seconds(0.01, longest=0.02):
                state = await self.call("GET", f"/{job.created['id']}")
                if state["status"] == "succeeded":
                    job.ended()
                    yield Finished()
                    return
                await anyio.sleep(seconds)


@asynccontextmanager
async def adapter(url: str) -> AsyncIterator[Adapter]:
    http = open_http(ProviderSettings())
    try:
        yield Adapter(http, url)
    finally:
        await http.aclose()


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def url(jobs: Jobs, emulator: Callable[[Any], str]) -> str:
    return emulator(jobs)


async def consume(adapter: Adapter, told: list[Event] | None = None) -> list[Event]:
    told = [] if told is None else told
    async with aclosing(adapter.generate()) as events:
        async for event in events:
            told.append(event)
    return told


async def test_a_job_that_ends_is_not_cancelled(jobs: Jobs, url: str) -> None:
    jobs.status = "succeeded"
    async with adapter(url) as it:
        assert await consume(it) == [Accepted("job-1"), Finished()]
    assert jobs.cancelled == []


async def test_closing_the_generator_cancels_the_job(jobs: Jobs, url: str) -> None:
    async with adapter(url) as it:
        async with aclosing(it.generate()) as events:
            assert await anext(events) == Accepted("job-1")
        assert jobs.cancelled == ["job-1"]


async def test_an_error_while_polling_cancels_the_job(jobs: Jobs, url: str) -> None:
    jobs.status = "no such key follows"
    async with adapter(url) as it:
        with pytest.raises(KeyError):
            async with running_job(
                lambda: it.call("POST", "/"), lambda job: it.call("POST", f"/{job['id']}/cancel")
            ) as job:
                job.created["missing"]
    assert jobs.cancelled == ["job-1"]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_task_cancels_the_job(jobs: Jobs, url: str, times: int) -> None:
    jobs.cancel_seconds = 0.03
    async with adapter(url) as it:
        task = asyncio.create_task(consume(it))
        await seen(lambda: jobs.created == 1)
        await asyncio.sleep(0.02)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.005)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert jobs.cancelled == ["job-1"]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_create_call_is_never_abandoned(jobs: Jobs, url: str, times: int) -> None:
    jobs.create_seconds = 0.05
    told: list[Event] = []
    async with adapter(url) as it:
        task = asyncio.create_task(consume(it, told))
        await seen(lambda: jobs.asked == 1)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.005)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (jobs.created, jobs.cancelled) == (1, ["job-1"])
        assert told == [Accepted("job-1")]  # who has left can ask what it cost


async def test_an_anyio_scope_neither_abandons_nor_forgets(
    jobs: Jobs, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.create_seconds = 0.05
    waits = []
    wait = asyncio.wait

    def counted(*args: Any, **kwargs: Any) -> Any:
        waits.append(args)
        return wait(*args, **kwargs)

    monkeypatch.setattr(asyncio, "wait", counted)
    async with adapter(url) as it:
        with anyio.move_on_after(0.02) as scope:
            await consume(it)
        assert scope.cancelled_caught
        assert len(waits) <= 4, "the scope cancels at every turn of the loop: shield against it"
        assert (jobs.created, jobs.cancelled) == (1, ["job-1"])


async def test_a_create_call_that_fails(jobs: Jobs, url: str) -> None:
    jobs.create_status = 500
    async with adapter(url) as it:
        with pytest.raises(UpstreamFailed) as failed:
            await consume(it)
        assert failed.value.may_have_run  # a fault of theirs does not say that no job was made
        jobs.create_seconds = 0.05
        task = asyncio.create_task(consume(it))
        await seen(lambda: jobs.asked == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert jobs.cancelled == []


async def test_a_create_call_that_was_refused_has_not_run() -> None:
    async def create() -> str:
        raise RateLimited

    async def cancel(job: str) -> None:
        raise AssertionError("there is nothing to cancel")

    with pytest.raises(RateLimited) as refused:
        async with running_job(create, cancel):
            raise AssertionError("there is no job")
    assert not refused.value.may_have_run


async def test_a_create_call_without_a_reply_is_told(
    jobs: Jobs, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.create_seconds = 10
    async with adapter(url) as it:
        it.create_seconds = 0.03
        task = asyncio.create_task(consume(it))
        await seen(lambda: jobs.asked == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "a job may be running" in caplog.text


async def test_a_cancel_that_hangs_is_bounded(
    jobs: Jobs, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.cancel_seconds = 10
    async with adapter(url) as it:
        it.cancel_seconds = 0.03
        async with aclosing(it.generate()) as events:
            await anext(events)
    assert "was not cancelled upstream: no answer in 0.03 seconds" in caplog.text


async def test_a_cancel_that_fails_tells_only_its_class(caplog: pytest.LogCaptureFixture) -> None:
    async def cancel() -> None:
        raise UpstreamFailed("with a secret")

    assert not await cancel_shielded(cancel)
    assert "UpstreamFailed" in caplog.text and "secret" not in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_backoff() -> None:
    seconds = backoff_seconds(first=1, factor=2, longest=5)
    assert [next(seconds) for _ in range(5)] == [1, 2, 4, 5, 5]
    for _ in range(5000):
        assert next(seconds) == 5
