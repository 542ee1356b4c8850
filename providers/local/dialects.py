"""What is different about the servers that speak OpenAI's chat completions: one record for each.

Data, with its source and the day it was read. What acts on it stands in ``server`` (probes, waking)
and ``timings``. No path here that is asked before or beside a request wakes a model or generates:
llama.cpp's ``/slots`` wakes, SGLang's ``/health`` generates a token, so neither is a probe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from providers.contract import ProbeState
from providers.local.timings import Timing, from_llamacpp, from_tgi, from_vllm

ServerName: TypeAlias = Literal[
    "plain", "llama.cpp", "vllm", "sglang", "tgi", "ollama", "lmstudio", "nim"
]


@dataclass(frozen=True, slots=True)
class Look:
    """A path that says whether the model is in memory; ``says`` gives None where it does not."""

    path: str
    says: Callable[[Any, str], bool | None]


@dataclass(frozen=True, slots=True)
class Call:
    """A POST with a JSON object as its body; ``{model}`` stands for the model's name."""

    path: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server.

    ``ready_path``:    cheap, and answers by ``states``; ``ready_is_loaded``: 200 means that the
                       model is in memory, where ``looks`` say nothing
    ``looks_first``:   the state is read before each call, so that a verdict has evidence
    ``wake, sleep``:   bring the model into memory, or out of it, without any work
    ``wakes_first``:   woken before the call, so that the boot is seen apart from the work
    ``wakes_itself``:  a request to a sleeping model wakes it
    ``unwakeable``:    a line of the metrics that forbids waking
    ``timing``:        reads the seconds that the server reports with an answer
    ``metrics_prefix``: what the names of its metrics begin with, at ``metrics_path``
    ``extra_body``:    keys sent with each chat completion; ``always_streams``: asked for a stream
                       even where the caller wants none, so that it notices who leaves
    """

    source: str
    checked_on: str
    ready_path: str
    states: Mapping[int, ProbeState] = field(default_factory=lambda: {200: "ready", 503: "booting"})
    ready_is_loaded: bool = True
    looks_first: bool = True
    looks: tuple[Look, ...] = ()
    wake: Call | None = None
    sleep: Call | None = None
    wakes_first: bool = False
    wakes_itself: bool = True
    unwakeable: str | None = None
    timing: Timing | None = None
    metrics_path: str | None = None
    metrics_prefix: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    always_streams: bool = True


def _is_awake(body: Any, model: str) -> bool | None:
    asleep = _member(body, "is_sleeping")
    return not asleep if type(asleep) is bool else None


def _is_routed_to(body: Any, model: str) -> bool | None:
    """llama.cpp's router: a status for each model."""
    for entry in _members(body, "data"):
        if entry.get("id") == model:
            status = _member(entry.get("status"), "value")
            return status == "loaded" if type(status) is str else None
    return None


def _is_running(body: Any, model: str) -> bool | None:
    """Ollama lists what is in memory; a name without a tag means the tag ``latest``."""
    if type(_member(body, "models")) is not list:
        return None
    tagged = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
    return any(tagged in (e.get("name"), e.get("model")) for e in _members(body, "models"))


def _has_instances(body: Any, model: str) -> bool | None:
    for entry in _members(body, "models"):
        instances = entry.get("loaded_instances")
        if type(instances) is list and model in (entry.get("key"), *_ids(instances)):
            return bool(instances)
    return None


def _ids(instances: list[Any]) -> list[Any]:
    return [_member(instance, "id") for instance in instances]


def _members(body: Any, name: str) -> list[dict[str, Any]]:
    found = _member(body, name)
    return [e for e in found if type(e) is dict] if type(found) is list else []


def _member(body: Any, name: str) -> Any:
    return body.get(name) if type(body) is dict else None


_DAY = "2026-11-23"
_UP_OR_NOT: Mapping[int, ProbeState] = {200: "ready"}

DIALECTS: Mapping[ServerName, Dialect] = {
    "plain": Dialect(
        "any server with a health path; nothing is claimed about its warmth",
        _DAY,
        "/health",
        looks_first=False,
    ),
    "llama.cpp": Dialect(
        "https://github.com/ggml-org/llama.cpp/tree/master/tools/server and run here (b11549)",
        _DAY,
        "/health",
        looks=(Look("/props", _is_awake), Look("/models", _is_routed_to)),
        # Seen: it loads the model, answers when that is done, and counts an empty text.
        wake=Call("/tokenize", {"model": "{model}", "content": ""}),
        wakes_first=True,
        timing=from_llamacpp,
        metrics_path="/metrics",
        metrics_prefix="llamacpp:",
        extra_body={"return_progress": True},  # else it notices nobody who leaves; see ``frames``
    ),
    "vllm": Dialect(
        "vLLM 0.33.0; https://docs.vllm.ai/en/latest/features/sleep_mode/",
        _DAY,
        "/health",
        states={200: "ready", 503: "down"},  # its engine is dead
        # Only with VLLM_SERVER_DEV_MODE=1; without it nobody can put it to sleep by HTTP either.
        looks=(Look("/is_sleeping", _is_awake),),
        wake=Call("/wake_up"),
        sleep=Call("/sleep?level=1"),
        wakes_first=True,
        wakes_itself=False,
        # Level 2 has dropped the weights: woken without them it would answer with noise.
        unwakeable='vllm:engine_sleep_state{.*sleep_state="discard_all".*} 1',
        timing=from_vllm,
        metrics_path="/metrics",
        metrics_prefix="vllm:",
    ),
    "sglang": Dialect(
        "SGLang 0.5.23, http_server.py",
        _DAY,
        "/ready",
        # It can release and resume its memory, but has no path that says which of both it did:
        # to resume what was not released is not ours to try.
        metrics_path="/metrics",
        metrics_prefix="sglang:",
    ),
    "tgi": Dialect(
        "TGI 3.x, router/src/server.rs (archived 2026-03-21; prefer vLLM or SGLang)",
        _DAY,
        "/health",
        states=_UP_OR_NOT,
        timing=from_tgi,
        metrics_path="/metrics",
        metrics_prefix="tgi_",
        always_streams=False,  # the times stand in the head of an unstreamed answer
    ),
    "ollama": Dialect(
        "https://github.com/ollama/ollama/blob/main/docs/api.md",
        _DAY,
        "/api/version",
        ready_is_loaded=False,
        looks=(Look("/api/ps", _is_running),),
        wake=Call("/api/generate", {"model": "{model}"}),
        sleep=Call("/api/generate", {"model": "{model}", "keep_alive": 0}),
    ),
    "lmstudio": Dialect(
        "https://lmstudio.ai/docs/api/rest-api (LM Studio 0.4)",
        _DAY,
        "/v1/models",
        ready_is_loaded=False,
        looks=(Look("/api/v1/models", _has_instances),),
        # Loaded this way it stays, where a request's own load ends after an idle time.
        wake=Call("/api/v1/models/load", {"model": "{model}"}),
        sleep=Call("/api/v1/models/unload", {"instance_id": "{model}"}),
    ),
    "nim": Dialect(
        "https://docs.nvidia.com/nim/large-language-models (2.x, on vLLM)",
        _DAY,
        "/v1/health/ready",
        timing=from_vllm,
        metrics_path="/v1/metrics",
        metrics_prefix="vllm:",
    ),
}
