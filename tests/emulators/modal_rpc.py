"""The RPCs of Modal's control plane and input plane that a caller of deployed functions needs.

Our reading of the modal 1.6.4 wheel (``modal_proto`` and the client code that uses it) and of
what the unmodified SDK was seen to need; no evidence about the service itself.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpclib
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from grpclib import Status
from modal_proto import api_grpc, api_pb2

from providers.testing.scenarios import LATE_SECONDS, RETRY_AFTER_SECONDS
from tests.emulators.modal_plays import CBOR, PICKLE, decode, play
from tests.emulators.modal_world import Call, World, scenario_of

APP = "emulated"
BUSY_SECONDS = 3.0  # with somebody else's work, before the scenario ``queued`` begins
_STREAM = api_pb2.Function.FUNCTION_TYPE_GENERATOR
_UNARY = api_pb2.Function.FUNCTION_TYPE_FUNCTION
_RETRY = [api_pb2.RPCRetryPolicy(retry_after_secs=RETRY_AFTER_SECONDS)]
REFUSALS: dict[str, tuple[Status, list[Any] | None]] = {
    "rate-limited": (Status.RESOURCE_EXHAUSTED, _RETRY),
    "rate-limited-no-header": (Status.RESOURCE_EXHAUSTED, None),
    "permission-denied": (Status.PERMISSION_DENIED, None),
    "failed-precondition": (Status.FAILED_PRECONDITION, None),
    "invalid-argument": (Status.INVALID_ARGUMENT, None),
    "unimplemented": (Status.UNIMPLEMENTED, None),
}

# USD an hour. Names as public programs of 2026 read them; that Modal has others is likely.
RATES = {
    "gpu_hour_cost_a10g": "1.10",
    "gpu_hour_cost_a100_80gb": "2.50",
    "gpu_hour_cost_h100": "3.95",
    "cpu_hour_cost": "0.0473",
    "mem_gib_hour_cost": "0.008",
    "cpu_hour_cost_sandbox": "0.142",
    "volume_gib_month_cost": "0.09",
}


@dataclass(slots=True)
class Received:
    """One RPC as it came."""

    rpc: str
    metadata: dict[str, str]
    message: Any


@dataclass(slots=True)
class Resources:
    """What ``info()`` tells of every function here."""

    gpu: str = "H100"
    gpus: int = 1
    milli_cpu: int = 4000
    memory_mib: int = 16384


class ControlPlane:
    """One method for each RPC that is known here; ``servicer`` is what a grpclib server takes."""

    def __init__(self, token: tuple[str, str], **world: Any) -> None:
        self.token = token
        self.url = ""
        self.blob_url = ""
        self.world = World(lambda call: play(self.world, call, self.keep_blob), **world)
        self.blobs: dict[str, bytes] = {}
        self.received: list[Received] = []
        self.stopped_calls: list[str] = []
        self.formats: dict[str, tuple[int, ...]] = {"pickle-only": (PICKLE,)}
        self.resources = Resources()
        self.input_plane = True  # deployed functions have one, and the SDK's streams go there
        self.rates = dict(RATES)
        self.billed: list[tuple[str, int, str]] = []  # description, begin of an hour, USD
        self.hidden: set[str] = set()  # functions that no longer exist
        self.slow_create_seconds = 0.0
        self.stats_fail = False
        self._maps: dict[str, api_pb2.FunctionMapResponse] = {}
        self._functions: dict[str, str] = {}

    def servicer(self) -> Any:
        """All RPCs of the service: an unregistered one would look like a broken connection."""
        names = api_grpc.ModalClientBase.__abstractmethods__
        handlers = {name: staticmethod(self._handler(name)) for name in names}
        return type("Servicer", (api_grpc.ModalClientBase,), handlers)()

    def _handler(self, name: str) -> Callable[[Any], Awaitable[None]]:
        answer = getattr(self, _snake(name), None)

        async def handle(stream: Any) -> None:
            message = await stream.recv_message()
            metadata = {key: str(value) for key, value in stream.metadata.items()}
            self.received.append(Received(name, metadata, message))
            given = (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret"))
            if given != self.token:
                raise grpclib.GRPCError(Status.UNAUTHENTICATED, f"Token {given} is not valid.")
            if answer is None:
                raise grpclib.GRPCError(Status.UNIMPLEMENTED, f"{name} is not emulated.")
            reply = await answer(message, stream)
            if reply is not None:
                await stream.send_message(reply)

        return handle

    # -- looking up ---------------------------------------------------------------------------

    async def function_get(self, request: Any, stream: Any) -> Any:
        tag: str = request.object_tag
        scenario = scenario_of(tag)
        if scenario == "bad-key":
            raise grpclib.GRPCError(Status.UNAUTHENTICATED, f"Token {self.token} is not valid.")
        if request.app_name != APP or scenario == "no-such-model" or tag in self.hidden:
            raise grpclib.GRPCError(Status.NOT_FOUND, f"No function {tag} in {request.app_name}.")
        function_id = f"fu-{base64.b32encode(tag.encode()).decode().rstrip('=')}"
        self._functions[function_id] = tag
        return api_pb2.FunctionGetResponse(
            function_id=function_id, handle_metadata=self._handle(tag), function=self._data(tag)
        )

    async def class_get(self, request: Any, stream: Any) -> Any:
        return api_pb2.ClassGetResponse(class_id="cs-emulated")

    async def function_bind_params(self, request: Any, stream: Any) -> Any:
        tag = self._tag(request.function_id)
        bound = f"{request.function_id}B"
        self._functions[bound] = tag
        return api_pb2.FunctionBindParamsResponse(
            bound_function_id=bound, handle_metadata=self._handle(tag)
        )

    def _handle(self, tag: str) -> Any:
        kind = _STREAM if tag.endswith("@stream") else _UNARY
        metadata = self._metadata(tag, kind)
        if tag.endswith(".*"):
            for method, its_kind in (("generate", _UNARY), ("stream", _STREAM)):
                its = self._metadata(tag, its_kind)
                its.is_method, its.use_method_name = True, method
                metadata.method_handle_metadata[method].CopyFrom(its)
            metadata.class_parameter_info.format = (
                api_pb2.ClassParameterInfo.PARAM_SERIALIZATION_FORMAT_PROTO
            )
            metadata.class_parameter_info.schema.append(
                api_pb2.ClassParameterSpec(
                    name="size",
                    full_type=api_pb2.GenericPayloadType(base_type=api_pb2.PARAM_TYPE_STRING),
                    has_default=True,
                    string_default="small",
                )
            )
        return metadata

    def _metadata(self, tag: str, kind: Any) -> Any:
        formats = self.formats.get(scenario_of(tag), (PICKLE, CBOR))
        return api_pb2.FunctionHandleMetadata(
            function_name=tag,
            function_type=kind,
            app_id="ap-emulated",
            supported_input_formats=[api_pb2.DataFormat.Name(f) for f in formats],
            supported_output_formats=[api_pb2.DataFormat.Name(f) for f in formats],
            input_plane_url=self.url if self.input_plane else "",
            input_plane_region="us-east" if self.input_plane else "",
        )

    def _data(self, tag: str) -> Any:
        has = self.resources
        data = api_pb2.FunctionData(function_name=tag, timeout_secs=300)
        ranked = data.ranked_functions.add()
        ranked.function.resources.milli_cpu = has.milli_cpu
        ranked.function.resources.memory_mb = has.memory_mib
        ranked.function.resources.gpu_config.gpu_type = has.gpu
        ranked.function.resources.gpu_config.count = has.gpus
        return data

    def _tag(self, function_id: str) -> str:
        tag = self._functions[function_id]
        if tag in self.hidden:
            raise grpclib.GRPCError(Status.NOT_FOUND, f"Function {function_id} not found.")
        return tag

    # -- calling ------------------------------------------------------------------------------

    async def function_map(self, request: Any, stream: Any) -> Any:
        key = str(stream.metadata["x-idempotency-key"])
        if key in self._maps:  # a repeated call is the same call
            return self._maps[key]
        await asyncio.sleep(self.slow_create_seconds)
        call = await self._begin(self._tag(request.function_id), request.pipelined_inputs[0].input)
        reply = api_pb2.FunctionMapResponse(function_call_id=call.id)
        reply.pipelined_inputs.add(input_id=self.world.new_id("in"), input_jwt="jwt")
        self._maps[key] = reply
        return reply

    async def _begin(self, tag: str, given: Any) -> Call:
        scenario = scenario_of(tag)
        if scenario in REFUSALS:
            status, details = REFUSALS[scenario]
            raise grpclib.GRPCError(status, f"No, and {self.token[1]} is quoted.", details)
        raw = self.blobs[given.args_blob_id] if given.args_blob_id else given.args
        arguments = decode(raw, given.data_format)
        if scenario == "queued":
            self.world.occupy(tag, BUSY_SECONDS)
        call = self.world.begin(tag, arguments, given.data_format, given.method_name)
        if scenario == "slow-create":
            await asyncio.sleep(LATE_SECONDS)
        return call

    async def function_get_outputs(self, request: Any, stream: Any) -> Any:
        call = self.world.calls.get(request.function_call_id)
        if call is None:
            raise grpclib.GRPCError(Status.NOT_FOUND, "no such function call")
        await _wait(call, request.timeout)
        if call.result is None:
            return api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=1)
        return api_pb2.FunctionGetOutputsResponse(outputs=[self._output(call)])

    def _output(self, call: Call) -> Any:
        started_at, ended_at = call.started_at or 0.0, call.ended_at or 0.0
        if scenario_of(call.function) == "clock-skew":
            started_at, ended_at = call.created_at - 2, call.created_at - 3
        return api_pb2.FunctionGetOutputsItem(
            result=call.result,
            data_format=api_pb2.DataFormat.Name(call.result_format),
            task_id=call.container.id if call.container else "",
            input_started_at=started_at,
            output_created_at=ended_at,
        )

    async def function_call_get_data_out(self, request: Any, stream: Any) -> None:
        call = self.world.calls[request.attempt_token or request.function_call_id]
        at = request.last_index
        while True:
            news = call.news
            while at < len(call.chunks):
                await stream.send_message(call.chunks[at])
                at += 1
            if call.cancelled:
                raise grpclib.GRPCError(Status.DATA_LOSS, "the container is gone")
            if call.result is not None:
                return
            await news.wait()

    async def function_call_cancel(self, request: Any, stream: Any) -> Any:
        call = self.world.calls[request.function_call_id]
        self.stopped_calls.append(scenario_of(call.function))
        self.world.cancel(call)
        return Empty()

    # -- the input plane ----------------------------------------------------------------------

    async def auth_token_get(self, request: Any, stream: Any) -> Any:
        claims = json.dumps({"exp": time.time() + 1200}).encode()
        middle = base64.urlsafe_b64encode(claims).decode().rstrip("=")
        return api_pb2.AuthTokenGetResponse(token=f"e30.{middle}.e30")

    async def attempt_start(self, request: Any, stream: Any) -> Any:
        assert stream.metadata["x-modal-auth-token"].startswith("e30.")
        call = await self._begin(self._tag(request.function_id), request.input.input)
        return api_pb2.AttemptStartResponse(attempt_token=call.id)

    async def attempt_await(self, request: Any, stream: Any) -> Any:
        call = self.world.calls[request.attempt_token]
        await _wait(call, request.timeout_secs)
        if call.result is None:
            return api_pb2.AttemptAwaitResponse()
        return api_pb2.AttemptAwaitResponse(output=self._output(call))

    # -- scaling and blobs --------------------------------------------------------------------

    async def function_get_current_stats(self, request: Any, stream: Any) -> Any:
        if self.stats_fail:
            raise grpclib.GRPCError(Status.PERMISSION_DENIED, "no stats for you")
        return self.world.stats(self._tag(request.function_id))

    async def function_update_scheduling_params(self, request: Any, stream: Any) -> Any:
        given = request.settings
        maximum = given.max_containers if given.HasField("max_containers") else None
        self.world.scale(self._tag(request.function_id), given.min_containers, maximum or None)
        return api_pb2.FunctionUpdateSchedulingParamsResponse(current_settings=given)

    async def workspace_name_lookup(self, request: Any, stream: Any) -> Any:
        return api_pb2.WorkspaceNameLookupResponse(username="emulated")

    async def workspace_billing_rates(self, request: Any, stream: Any) -> Any:
        return api_pb2.WorkspaceBillingRatesResponse(rates=self.rates)

    async def workspace_billing_report(self, request: Any, stream: Any) -> Any:
        """Whole intervals from the start, rounded down, to before the end; as the SDK's own text
        says (modal 1.6.4, ``_workspace.py``, read 2026-11-26).
        """
        assert request.resolution == "h"
        start, end = request.start_timestamp.seconds // 3600 * 3600, request.end_timestamp.seconds
        for description, at, cost in self.billed:
            if start <= at and at + 3600 <= end:
                item = api_pb2.WorkspaceBillingReportItem(
                    object_id="ap-1", description=description, environment_name="main", cost=cost
                )
                item.interval.seconds = at
                await stream.send_message(item)

    async def blob_create(self, request: Any, stream: Any) -> Any:
        blob_id = self.world.new_id("bl")
        urls = api_pb2.UploadUrlList(items=[f"{self.blob_url}/{blob_id}"])
        return api_pb2.BlobCreateResponse(blob_ids=[blob_id], upload_urls=urls)

    async def blob_get(self, request: Any, stream: Any) -> Any:
        return api_pb2.BlobGetResponse(download_url=f"{self.blob_url}/{request.blob_id}")

    def keep_blob(self, data: bytes) -> str:
        blob_id = self.world.new_id("bl")
        self.blobs[blob_id] = data
        return blob_id


async def _wait(call: Call, seconds: float) -> None:
    end = time.monotonic() + seconds
    while call.result is None and (left := end - time.monotonic()) > 0:
        try:
            await asyncio.wait_for(call.news.wait(), left)
        except TimeoutError:
            return


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
