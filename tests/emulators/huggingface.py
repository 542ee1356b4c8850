"""Hugging Face: router, hf-inference, the classic API, dedicated endpoints and their management.

Our reading of https://huggingface.co/docs/inference-providers (2026-08-22) and
.../inference-endpoints (2026-08-20), of huggingface_hub 2.4.0, which the test suite drives against
it unmodified, and of answers on public record (each with its date). No evidence of the service.

    POST /v1/chat/completions          GET /v1/models[/{id}]
    POST /hf-inference/models/{id}[/v1/chat/completions | /pipeline/feature-extraction]
    POST /models/{id}                  GET /status/{id}                  (classic)
    *    /e/{name}/...                 a dedicated endpoint's own address
    *    /v2/endpoint/org/{name}[/pause | /resume | /scale-to-zero]

The scenario is the model's name (``providers.testing.scenarios``), without its policy.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import MutableMapping
from typing import Any

from providers.testing.scenarios import RETRY_AFTER_SECONDS
from tests.emulators.asgi import Call, Receive, Send
from tests.emulators.huggingface_tasks import Tasks, tgi_headers
from tests.emulators.huggingface_world import ClassicModel, Clock, Endpoint, RealClock
from tests.emulators.openai_chat import OpenAIChat, Received

KEY = "hf_emulatedTokenOfNobody0123456789"
NAMESPACE = "org"
SERVED_BY = "novita"
REQUEST_ID = "Root=1-67ee3d50-440158f91a5ed0c4ed5d3c58;db652428-1cf1-4b3a-9a4a-4b7a3f2d8f11"
GONE = (
    "https://api-inference.huggingface.co is no longer supported. "
    "Please use https://router.huggingface.co instead."
)
DEPLETED = (
    "You have depleted your monthly included credits. Purchase pre-paid credits to continue "
    "using Inference Providers. Alternatively, subscribe to PRO to get 20x more included usage."
)
NOT_SUPPORTED = {
    "message": "The requested model 'X' is not supported by any provider you have enabled.",
    "type": "invalid_request_error",
    "param": "model",
    "code": "model_not_supported",
}
NO_PERMISSION = (
    "This authentication method does not have sufficient permissions to call Inference "
    "Providers on behalf of user NAME"
)
TOO_LARGE = (
    "The model X is too large to be loaded automatically (16GB > 10GB). Please use Spaces "
    "(https://huggingface.co/spaces) or Inference Endpoints "
    "(https://huggingface.co/inference-endpoints)."
)
LOADING = (503, {"error": "Model gpt2 is currently loading", "estimated_time": 20.0})
ERRORS: dict[str, tuple[int, Any]] = {
    "bad-key": (401, {"error": "Invalid credentials in Authorization header"}),
    "no-such-model": (404, {"error": "Not Found"}),
    "out-of-quota": (402, {"error": DEPLETED}),
    "rate-limited": (429, {"error": "Too Many Requests"}),
    "rate-limited-no-header": (429, {"error": "Too Many Requests"}),
    "loading": LOADING,
    "never-boots": LOADING,
    "not-enabled": (400, {"error": NOT_SUPPORTED}),
    "not-here": (400, {"error": "Model not supported by provider hf-inference"}),
    "no-permission": (403, {"error": NO_PERMISSION}),
    "too-large": (403, {"error": TOO_LARGE}),
    "busy": (
        500,
        {"error": "Model too busy, unable to get response in less than 120 second(s)"},
    ),
    "html-504": (504, "<html><body><h1>504 Gateway Time-out</h1></body></html>"),
}
ROUTER_ERRORS: dict[str, tuple[int, Any]] = {
    "no-capacity": (503, "<html><head><title>503 Service Temporarily Unavailable</title></head>"),
    "job-fails": (500, {"error": "Internal Server Error"}),
}
# The example of https://huggingface.co/docs/inference-providers/hub-api (2026-08-22).
MODELS: list[dict[str, Any]] = [
    {
        "id": "deepseek-ai/DeepSeek-V4-Pro",
        "object": "model",
        "created": 1776837885,
        "owned_by": "deepseek-ai",
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "providers": [
            {
                "provider": "novita",
                "status": "live",
                "context_length": 1048576,
                "pricing": {"input": 1.69, "output": 3.38},
                "supports_tools": True,
                "supports_structured_output": False,
                "first_token_latency_ms": 1490,
                "throughput": 24.69,
                "is_model_author": False,
            },
            {
                "provider": "together",
                "status": "live",
                "pricing": {"input": 2.1, "output": 4.4},
                "throughput": 61.2,
            },
            {"provider": "featherless-ai", "status": "live", "is_model_author": False},
            {"provider": "deepinfra", "status": "error", "pricing": {"input": 1, "output": 1}},
        ],
    }
]


class HuggingFace:
    """The ASGI app; an ``Upstream`` of the contract suite once ``url`` is set."""

    def __init__(self, *, clock: Clock | None = None, classic_ended: bool = False) -> None:
        self.key = KEY
        self.url = ""
        self.clock: Clock = clock or RealClock()
        self.classic_ended = classic_ended
        self.served_by: str | None = SERVED_BY
        self.models = copy.deepcopy(MODELS)
        self.chat = OpenAIChat(KEY)
        self.tasks = Tasks()
        self.endpoints: dict[str, Endpoint] = {}
        self.classic: dict[str, ClassicModel] = {}
        self.received: list[Received] = []
        self.held: Counter[str] = Counter()  # at the door of an endpoint, for its replica
        self.left: Counter[str] = Counter()  # before that replica came

    def began(self, scenario: str) -> int:
        waiting = self.held[scenario] + self.left[scenario]
        return self.chat.began(scenario) + self.tasks.began[scenario] + waiting

    def stopped(self, scenario: str) -> int:
        waited = self.left[scenario]
        return self.chat.stopped(scenario) + self.tasks.stopped[scenario] + waited

    def endpoint(self, name: str, **settings: Any) -> Endpoint:
        """An endpoint of that name; asleep when it is made here."""
        if name not in self.endpoints:
            self.endpoints[name] = Endpoint(name, self.clock, **settings)
        return self.endpoints[name]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        call = await Call.of(scope, receive, send)
        self.received.append(Received(call.path, call.headers, call.body))
        _, first, *rest = call.path.split("/")
        door = {
            "v1": self.router,
            "hf-inference": self.hf_inference,
            "models": self.classic_model,
            "status": self.classic_status,
            "e": self.endpoint_door,
            "v2": self.management,
        }.get(first)
        if door is None:
            return await call.json(404, {"error": "Not Found"})
        await door(call, [part for part in rest if part])

    def let_in(self, call: Call) -> bool:
        return call.headers.get("authorization") == f"Bearer {self.key}"

    async def refused(self, call: Call, model: str, *tables: dict[str, tuple[int, Any]]) -> bool:
        """Whether the call was answered with an error."""
        status, body = 401, ERRORS["bad-key"][1]
        if self.let_in(call):
            for table in (ERRORS, *tables):
                if model in table:
                    status, body = table[model]
                    break
            else:
                return False
        if isinstance(body, str):
            await call.text(status, body, "text/html")
        else:
            wait = {"retry-after": f"{RETRY_AFTER_SECONDS:g}"} if model == "rate-limited" else {}
            await call.json(status, body, wait)
        return True

    # -- shared machines ----------------------------------------------------------------------

    async def router(self, call: Call, rest: list[str]) -> None:
        if rest[:1] == ["models"] and call.method == "GET":  # for everybody
            wanted = "/".join(rest[1:])
            found = [row for row in self.models if row["id"] == wanted or not wanted]
            if not found:
                return await call.json(404, {"error": "Not Found"})
            return await call.json(200, found[0] if wanted else {"object": "list", "data": found})
        if rest != ["chat", "completions"] or call.method != "POST":
            return await call.json(404, {"error": "Not Found"})
        body = call.body
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            return await call.json(400, {"error": {"message": "no model", "type": "invalid"}})
        call.extra_headers["x-request-id"] = REQUEST_ID
        model, _, _ = body["model"].removeprefix("org/").partition(":")
        if await self.refused(call, model, ROUTER_ERRORS):
            return None
        if self.served_by is not None:
            call.extra_headers["x-inference-provider"] = self.served_by
        await self.play_chat(call, model)

    async def hf_inference(self, call: Call, rest: list[str]) -> None:
        if rest[:1] != ["models"] or call.method != "POST":
            return await call.json(404, {"error": "Not Found"})
        model, _, task = "/".join(rest[1:]).removeprefix("org/").partition("/")
        call.extra_headers["x-request-id"] = REQUEST_ID
        if await self.refused(call, model):
            return None
        await self.play(call, model, task)

    async def classic_model(self, call: Call, rest: list[str]) -> None:
        if self.classic_ended:
            return await call.json(410, {"error": GONE})
        model = "/".join(rest).removeprefix("org/")
        if await self.refused(call, model):
            return None
        loading = self.classic.setdefault(model, ClassicModel(self.clock))
        missing = loading.ready_at() - self.clock.now()
        if missing > 0 and call.headers.get("x-wait-for-model") != "1":
            words = {"error": f"Model {model} is currently loading"}
            return await call.json(503, {**words, "estimated_time": loading.estimated_seconds})
        if missing > 0:
            await self.clock.spend(missing)
        loading.last_used_at = self.clock.now()
        await self.play(call, model, "")

    async def classic_status(self, call: Call, rest: list[str]) -> None:
        model = "/".join(rest).removeprefix("org/")
        known = self.classic.get(model, ClassicModel(self.clock))
        state = "TooBig" if model == "too-large" else known.state()
        loaded = state == "Loaded"
        await call.json(200, {"loaded": loaded, "state": state, "compute_type": {"cpu": {}}})

    async def play(self, call: Call, model: str, task: str) -> None:
        if task == "v1/chat/completions":
            return await self.play_chat(call, model)
        if task == "pipeline/feature-extraction":
            return await self.tasks.embed(call, model)
        if task:
            return await call.json(404, {"error": "Not Found"})
        if call.headers.get("accept", "").startswith("image/"):
            return await self.tasks.image(call, model)
        if model == "classifier":
            return await self.tasks.classify(call, model)
        await self.tasks.text(call, model)

    async def play_chat(self, call: Call, model: str) -> None:
        """The chat emulator answers; the scenario is its model's name."""
        await call.to(self.chat, "/chat/completions", {**call.body, "model": model})

    # -- dedicated endpoints ------------------------------------------------------------------

    async def endpoint_door(self, call: Call, rest: list[str]) -> None:
        name, path = rest[0], "/" + "/".join(rest[1:])
        endpoint = self.endpoints.get(name)
        if endpoint is None:
            return await call.text(404, "Not Found")
        if not self.let_in(call):
            return await call.json(401, {"error": "Unauthorized"})
        hold_seconds = float(call.headers.get("x-scale-up-timeout", 0))
        seen = endpoint.arrive(held=hold_seconds > 0)
        if seen.state in ("paused", "failed", "updateFailed"):
            return await call.json(400, {"error": "Bad Request: Invalid state"})
        if seen.state != "running":
            missing = endpoint.ups[-1].ready_at - self.clock.now() if endpoint.ups else 1e9
            if hold_seconds and await self.left_while(call, name, min(missing, hold_seconds)):
                return None
            if missing > hold_seconds:
                return await call.text(endpoint.status_while_starting, "Service Unavailable")
        if path == "/health" and call.method == "GET":
            return await call.whole(200, b"", {})
        if call.method != "POST":
            return await call.text(405, "Method Not Allowed")
        begun_at = self.clock.now()
        await endpoint.work()
        endpoint.served_seconds.append(self.clock.now() - begun_at)
        await self.serve(call, endpoint, path)

    async def left_while(self, call: Call, name: str, seconds: float) -> bool:
        """Hold a call at the door for so long; whether its client has left meanwhile."""
        self.held[name] += 1
        waiting = asyncio.ensure_future(self.clock.spend(seconds))
        gone = asyncio.ensure_future(call.hung_up())
        await asyncio.wait({waiting, gone}, return_when="FIRST_COMPLETED")
        left = not waiting.done()
        for task in (waiting, gone):
            task.cancel()
        self.held[name] -= 1
        self.left[name] += left
        return left

    async def serve(self, call: Call, endpoint: Endpoint, path: str) -> None:
        if path == "/v1/chat/completions" and endpoint.engine in ("vllm", "tgi"):
            body = call.body
            if endpoint.engine == "tgi" and not body.get("stream"):
                call.extra_headers |= tgi_headers("Say something.")
            known = endpoint.name if body.get("model") == "dummy" else str(body.get("model"))
            if await self.refused(call, known, ROUTER_ERRORS):
                return None
            return await self.play_chat(call, known)
        if endpoint.engine == "tei" and path in ("/", "/embed"):
            return await self.tasks.embed(call, endpoint.name)
        if endpoint.engine == "tgi" and path in ("/", "/generate", "/generate_stream"):
            return await self.tasks.text(call, endpoint.name, compatible=path == "/")
        if endpoint.engine == "toolkit" and path == "/":
            return await self.tasks.classify(call, endpoint.name)
        await call.text(404, "Not Found")

    async def management(self, call: Call, rest: list[str]) -> None:
        if not self.let_in(call):
            return await call.json(401, {"error": "Invalid username or password."})
        endpoint = self.endpoints.get(rest[2]) if len(rest) > 2 else None
        if rest[:2] != ["endpoint", NAMESPACE] or endpoint is None:
            return await call.json(404, {"error": "Endpoint not found"})
        verb = (call.method, *rest[3:])
        if verb == ("POST", "pause"):
            endpoint.pause()
        elif verb == ("POST", "resume"):
            endpoint.resume()
        elif verb == ("POST", "scale-to-zero"):
            endpoint.scale_to_zero()
        elif verb == ("PUT",):
            scaling = (call.body.get("compute") or {}).get("scaling") or {}
            endpoint.scale(scaling.get("minReplica"), scaling.get("maxReplica"))
        elif verb != ("GET",):
            return await call.json(405, {"error": "Method Not Allowed"})
        await call.json(200, self.described(endpoint))

    def described(self, endpoint: Endpoint) -> dict[str, Any]:
        """The fields that huggingface_hub reads."""
        stamp = "2026-08-20T12:00:00.000Z"
        scaling = {"minReplica": endpoint.minimum, "maxReplica": endpoint.maximum}
        return {
            "name": endpoint.name,
            "type": "authenticated",
            "healthRoute": "/health",
            "model": {
                "repository": f"{NAMESPACE}/{endpoint.name}",
                "framework": "pytorch",
                "revision": endpoint.revision,
                "task": "text-generation",
            },
            "compute": {"scaling": scaling},
            "status": {
                "state": endpoint.told(),
                "url": f"{self.url}/e/{endpoint.name}",
                "createdAt": stamp,
                "updatedAt": stamp,
            },
        }
