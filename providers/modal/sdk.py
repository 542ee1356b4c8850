"""Modal's own SDK behind ``api.Api``. Pinned: modal 1.6.4, read and run 2026-11-23.

What it does not let a caller do, and what is done about it:

* ``FunctionCall.get`` drops what the wire says of a call (container, when it started and ended)
  and unpickles, with all that a pickle can do, what a container left that crashed at its start.
  ``_outcome`` asks by the SDK's own way and keeps the first and refuses the second.
* A generator can be neither spawned nor cancelled; leaving ``remote_gen`` sends nothing.
* It repeats calls for as long as the server asks it to wait, and tries to connect for 56 s. The
  first is switched off (waiting is decided where deadlines are), the second bounded.
* It takes the format of payloads from the process: CBOR, so that answers are data and not code.
* It tells Modal the name of this host, and reads HTTP(S)_PROXY by itself.
* The HTTP/2 library below it writes every header, tokens too, to the log at DEBUG: quieted here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, cast

import modal
from modal._functions import _Function, _FunctionCall
from modal._utils.async_utils import synchronize_api
from modal._utils.function_utils import _process_result
from modal.config import config
from modal.exception import OutputExpiredError
from modal_proto import api_pb2

from providers.contract import Hardware, ProtocolViolation, UpstreamFailed, UpstreamUnreachable
from providers.modal.api import Bill, Facts, Outcome, Ref, Scale, Target
from providers.modal.billing import billed, rates
from providers.modal.errors import error_of_status, translated
from providers.modal.once import Once

logging.getLogger("hpack").setLevel(logging.INFO)

_CBOR = api_pb2.DATA_FORMAT_CBOR
_SUCCESS = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS
_TERMINATED = api_pb2.GenericResult.GENERIC_STATUS_TERMINATED


class SdkApi:
    """One account, one client; it connects on first use."""

    def __init__(
        self,
        token_id: str,
        token_secret: str,
        *,
        server_url: str | None,
        connect_timeout_seconds: float,
        rpc_timeout_seconds: float,
    ) -> None:
        self._credentials = (token_id, token_secret)
        self._server_url = server_url
        self._connect_timeout_seconds = connect_timeout_seconds
        self._rpc_timeout_seconds = rpc_timeout_seconds
        self._client = Once(self._open)

    def __repr__(self) -> str:
        return f"SdkApi({self._server_url!r})"

    async def find(self, ref: Ref) -> Target:
        """Look a function up, within the time for a connection."""
        client = await self._client.get()
        with translated():
            try:
                async with asyncio.timeout(self._connect_timeout_seconds):
                    function = _handle(ref, client)
                    await function.hydrate.aio()
                    facts = await _facts.aio(function)
            except TimeoutError:
                raise UpstreamUnreachable("Modal did not answer in time.") from None
        return SdkTarget(function, facts, self._rpc_timeout_seconds)

    async def outcome(
        self, call_id: str, *, wait: bool, allow_pickle: bool = False
    ) -> Outcome | None:
        client = await self._client.get()
        with translated():
            call = modal.FunctionCall.from_id(call_id, client)
            outcome: Outcome | None = await _outcome.aio(call, None if wait else 0.0, allow_pickle)
        return outcome

    async def cancel(self, call_id: str) -> None:
        client = await self._client.get()
        with translated():
            await modal.FunctionCall.from_id(call_id, client).cancel.aio()

    async def rates(self) -> Mapping[str, Any]:
        return await rates(await self._client.get(), self._rpc_timeout_seconds)

    async def billed(self, since: datetime, until: datetime) -> Bill:
        return await billed(await self._client.get(), since, until)

    async def aclose(self) -> None:
        client = await self._client.aclose()
        if client is not None:
            await client.__aexit__(None, None, None)

    async def _open(self) -> Any:
        # For this process only: Modal's file is not written. It reads these for every call.
        config.override_locally("payload_format", "cbor")
        config.override_locally("max_throttle_wait", "0")
        url = self._server_url or config["server_url"]
        # `from_credentials` is the public way, and has no argument for the server.
        client: Any = modal.Client(url, api_pb2.CLIENT_TYPE_CLIENT, self._credentials)
        opened = False
        with translated():
            try:
                async with asyncio.timeout(self._connect_timeout_seconds):
                    await client.__aenter__()  # connects
                opened = True
            except TimeoutError:
                raise UpstreamUnreachable("Modal could not be reached in time.") from None
            finally:
                if not opened:  # or it goes on trying
                    await client.__aexit__(None, None, None)
        return client


class SdkTarget:
    """One looked-up function."""

    def __init__(self, function: Any, facts: Facts, rpc_timeout_seconds: float) -> None:
        self._function = function
        self._facts = facts
        self._rpc_timeout_seconds = rpc_timeout_seconds

    @property
    def facts(self) -> Facts:
        return self._facts

    async def scale(self) -> Scale:
        with translated():
            try:
                async with asyncio.timeout(self._rpc_timeout_seconds):
                    said = await self._function.get_current_stats.aio()
            except TimeoutError:
                raise UpstreamUnreachable("Modal did not say its scale in time.") from None
        return Scale(
            said.backlog, said.num_total_runners, said.num_running_inputs, said.input_headroom
        )

    async def set_scale(self, minimum: int, maximum: int | None) -> None:
        bounds = {"min_containers": minimum}
        if maximum is not None:
            bounds["max_containers"] = maximum
        with translated():
            await self._function.autoscaler.update.aio(**bounds)

    async def spawn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        try:
            with translated():
                call = await self._function.spawn.aio(*args, **kwargs)
        except UpstreamUnreachable as error:
            # Bytes may have been sent before the connection broke: it may be running, and bill.
            raise UpstreamFailed("The connection to Modal broke during the call.") from error
        return str(call.object_id)

    async def stream(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> AsyncGenerator[Any, None]:
        with translated():
            async with aclosing(self._function.remote_gen.aio(*args, **kwargs)) as items:
                async for item in items:
                    yield item


def _handle(ref: Ref, client: Any) -> Any:
    if ref.cls is None:
        assert ref.function is not None
        return modal.Function.from_name(
            ref.app, ref.function, environment_name=ref.environment, client=client
        )
    cls = modal.Cls.from_name(ref.app, ref.cls, environment_name=ref.environment, client=client)
    assert ref.method is not None
    return getattr(cls(**dict(ref.parameters)), ref.method)


# These two run in the SDK's own thread, on the objects behind its public ones.


async def _read_facts(function: _Function[Any, Any, Any]) -> Facts:
    metadata = function._metadata
    assert metadata is not None
    info = await function.info()
    return Facts(
        yields=bool(function._is_generator),
        speaks_cbor=_CBOR in metadata.supported_input_formats
        and _CBOR in metadata.supported_output_formats,
        is_web=bool(function._web_url),
        hardware=_hardware(info),
    )


async def _read_outcome(
    call: _FunctionCall[Any], timeout: float | None, allow_pickle: bool
) -> Outcome | None:
    await call.hydrate()
    invocation = cast(Any, call)._invocation()
    answer = await invocation.pop_function_call_outputs(timeout=timeout)
    if not answer.outputs:
        if answer.num_unfinished_inputs:
            return None
        raise OutputExpiredError
    item = answer.outputs[0]
    value, error = None, None
    if item.result.status != _SUCCESS:
        error = error_of_status(item.result.status)
    elif item.data_format != _CBOR and not allow_pickle:
        error = ProtocolViolation(
            "The function answered with a pickle, which may hold code; see allow_pickle."
        )
    else:
        value = await _process_result(item.result, item.data_format, call.client._stub, call.client)
    return Outcome(
        value=value,
        error=error,
        cancelled=item.result.status == _TERMINATED,
        container_id=item.task_id or None,
        started_at=_moment(item.input_started_at),
        ended_at=_moment(item.output_created_at),
        retries=item.retry_count,
    )


_in_its_thread: Any = synchronize_api
_facts = _in_its_thread(_read_facts)
_outcome = _in_its_thread(_read_outcome)


def _moment(unix_seconds: float) -> datetime | None:
    return datetime.fromtimestamp(unix_seconds, UTC) if unix_seconds else None


def _hardware(info: Any) -> Hardware:
    """As requested; of a request with a limit, the request: the least that is billed."""
    cpu, memory = (
        value[0] if isinstance(value, tuple) else value for value in (info.cpu, info.memory_mib)
    )
    return Hardware(tuple((name, count) for name, count in info.gpus), cpu, memory)
