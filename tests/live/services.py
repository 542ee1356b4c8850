"""The services that live tests know: what they need, what may be dialled, what is expected.

One service stands for one way through one adapter. ``setting`` says how it is reached, from the
environment alone; the tests of the emulators give a setting of their own and nothing else.

Spend: four calls for each service, at most 16 output tokens each, and one that may make 512 and is
cancelled at its first piece. At the dearest rate that is known here (0.0122 dollars a
second) one minute of all of that is below a dollar; with the default models it is below a cent,
but for what a container costs that stays up afterwards (Modal's ``scaledown_window``).
Prices in the settings are stand-ins where the provider has no price row: the arithmetic is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from tests.live import shapes
from tests.live.shapes import Row

Environment = Mapping[str, str]
PER_TOKEN = {"usd_per_million_input_tokens": "1", "usd_per_million_output_tokens": "1"}
PER_SECOND = {"usd_per_second": "0.0001", "bills": ["execute", "boot"]}
ANSWER_TOKENS = 16
LONG_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Setting:
    """How a service is reached: provider block, deployment, and what is other where it must last.

    ``wrong_key``: the same with a key that nobody has; None where the server asks for none.
    """

    block: Mapping[str, Any]
    deployment: Mapping[str, Any]
    lasting: Mapping[str, Any] = field(default_factory=dict)
    wrong_key: Mapping[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One service. ``needs``: environment variables, each with what it is.

    ``evidence``: what a verdict may rest on, by verdict. ``counts``: where counts of tokens may
    come from. ``has_jobs``: a cancelled call can be asked about afterwards. ``leaves_at``: the
    events at which the caller who cancels hangs up. ``cannot_cancel``: why nobody can.
    """

    name: str
    kind: str
    needs: Mapping[str, str]
    setting: Callable[[Environment], Setting]
    rows: tuple[Row, ...]
    evidence: Mapping[str, frozenset[str | None]]
    hosts: tuple[str, ...] = ()
    address: str | None = None  # the variable that holds its address
    counts: frozenset[str] = frozenset({"reported"})
    has_jobs: bool = False
    leaves_at: frozenset[str] = frozenset({"delta", "output"})
    cannot_cancel: str | None = None

    def missing(self, environment: Environment) -> str | None:
        """What is not there, in words; None: it can be asked."""
        lacking = [
            f"{name} ({what})" for name, what in self.needs.items() if name not in environment
        ]
        return f"not set: {', '.join(lacking)}" if lacking else None

    def open_hosts(self, environment: Environment) -> tuple[str, ...]:
        """The names that may be dialled."""
        if self.address is None:
            return self.hosts
        return (*self.hosts, urlsplit(environment[self.address]).hostname or "")


UNKNOWN: Mapping[str, frozenset[str | None]] = {"unknown": frozenset({None, "latency_only"})}


def _replicate(environment: Environment) -> Setting:
    model = environment.get("LIVE_REPLICATE_MODEL", "meta/meta-llama-3-8b-instruct")
    return Setting(
        block={"api_token": environment["REPLICATE_API_TOKEN"]},
        deployment={"model": model, "hardware": "gpu-l40s", "price": "replicate-gpu-l40s"},
        wrong_key={"block": {"api_token": "r8_nobodyHasThisOne0000000000000000000000"}},
    )


def _huggingface(environment: Environment) -> Setting:
    model = environment.get("LIVE_HF_MODEL", "meta-llama/Llama-3.1-8B-Instruct:cheapest")
    return Setting(
        block={"token": environment["HF_TOKEN"]},
        deployment={"model": model, "price": PER_TOKEN},
        wrong_key={"block": {"token": "hf_nobodyHasThisOne000000000000000"}},
    )


def _modal(environment: Environment) -> Setting:
    app = {"app": environment["LIVE_MODAL_APP"], "cls": environment.get("LIVE_MODAL_CLS", "LLM")}
    names = {"prompt": "prompt", "max_output_tokens": "max_tokens"}
    return Setting(
        block={
            "token_id": environment["MODAL_TOKEN_ID"],
            "token_secret": environment["MODAL_TOKEN_SECRET"],
        },
        deployment={
            **app,
            "model": "live",
            "method": "generate",
            "stream_method": "stream",
            "input": names,
            "price": "modal-l4",
        },
        lasting={"stream_method": None},  # a generator cannot be cancelled
        wrong_key={"block": {"token_secret": "as-nobodyHasThisOne0000"}},
    )


def _runpod(environment: Environment) -> Setting:
    return Setting(
        block={"api_key": environment["RUNPOD_API_KEY"]},
        deployment={
            "model": "live",
            "endpoint": environment["LIVE_RUNPOD_ENDPOINT"],
            "streams": True,
            "input": {"prompt": "prompt", "max_output_tokens": "max_tokens"},
            "output_field": "text",
            "input_tokens_field": "usage.tokens_in",
            "output_tokens_field": "usage.tokens_out",
            "price": "runpod-l40s",
        },
        wrong_key={"block": {"api_key": "rpa_nobodyHasThisOne00000000"}},
    )


def _potassium(environment: Environment) -> Setting:
    return Setting(
        block={"base_url": environment["LIVE_POTASSIUM_URL"]},
        deployment={
            "model": "live",
            "input": {"prompt": "prompt", "max_output_tokens": "max_tokens"},
            "output_field": "outputs",
            "input_tokens_field": "usage.tokens_in",
            "output_tokens_field": "usage.tokens_out",
            "price": PER_SECOND,
        },
    )


def _openai_chat(environment: Environment) -> Setting:
    return Setting(
        block={
            "kind": "openai_chat",
            "base_url": environment["LIVE_OPENAI_CHAT_URL"],
            "api_key": environment["LIVE_OPENAI_CHAT_KEY"],
        },
        deployment={"model": environment["LIVE_OPENAI_CHAT_MODEL"], "price": PER_TOKEN},
        wrong_key={"block": {"api_key": "sk-nobodyHasThisOne00000000"}},
    )


def _server(server: str, name: str, environment: Environment) -> Setting:
    reached = {
        "url": environment[f"LIVE_{name}_URL"].rstrip("/"),
        "server": server,
        "model": environment[f"LIVE_{name}_MODEL"],
        "price": PER_SECOND,
    }
    if (key := environment.get(f"LIVE_{name}_KEY")) is None:
        return Setting({}, reached)
    wrong_key = {"deployment": {"api_key": "nobody-has-this-one"}}
    return Setting({}, {**reached, "api_key": key}, wrong_key=wrong_key)


def _gpu_server(server: str) -> Service:
    name = server.upper().replace(".", "")
    return Service(
        name=server,
        kind="local",
        needs={
            f"LIVE_{name}_URL": f"address of a running {server}, without a path",
            f"LIVE_{name}_MODEL": "the model's name there",
        },
        setting=partial(_server, server, name),
        rows=shapes.OLLAMA if server == "ollama" else shapes.GPU_SERVER,
        evidence={
            "warm": frozenset({"scale_state", "delay_reported"}),
            "cold": frozenset({"scale_state", "delay_reported", "loading_reported"}),
            **UNKNOWN,
        },
        address=f"LIVE_{name}_URL",
    )


SERVICES: tuple[Service, ...] = (
    Service(
        name="replicate",
        kind="replicate",
        needs={"REPLICATE_API_TOKEN": "an account's token"},
        setting=_replicate,
        rows=shapes.REPLICATE,
        evidence={
            "warm": frozenset({"timestamps_reported"}),
            "cold": frozenset({"timestamps_reported"}),
            **UNKNOWN,
        },
        hosts=("api.replicate.com", "stream.replicate.com", "*.replicate.delivery"),
        counts=frozenset({"reported", "estimated"}),  # community models report none
        has_jobs=True,
    ),
    Service(
        name="modal",
        kind="modal",
        needs={
            "MODAL_TOKEN_ID": "of a token of the workspace",
            "MODAL_TOKEN_SECRET": "of the same token",
            "LIVE_MODAL_APP": "the app of providers/modal/EXAMPLE.md, deployed",
        },
        setting=_modal,
        rows=shapes.MODAL,
        evidence={
            "warm": frozenset({"scale_state", "timestamps_reported", "delay_reported"}),
            "cold": frozenset(
                {"scale_state", "timestamps_reported", "delay_reported", "instance_first_seen"}
            ),
            **UNKNOWN,
        },
        hosts=("*.modal.com", "*.modal.host"),
        counts=frozenset({"reported", "counted"}),
        has_jobs=True,
        leaves_at=frozenset({"accepted"}),  # what can be cancelled there comes in one piece
    ),
    Service(
        name="huggingface",
        kind="huggingface",
        needs={"HF_TOKEN": "allowed to call Inference Providers"},
        setting=_huggingface,
        rows=shapes.CHAT,
        evidence={"cold": frozenset({"loading_reported"}), **UNKNOWN},
        hosts=("router.huggingface.co",),
    ),
    Service(
        name="runpod",
        kind="runpod",
        needs={
            "RUNPOD_API_KEY": "of an account; allowed to read its endpoints",
            "LIVE_RUNPOD_ENDPOINT": "an endpoint with the handler of providers/EXAMPLES.md",
        },
        setting=_runpod,
        rows=shapes.RUNPOD,
        evidence={
            "warm": frozenset({"delay_reported", "scale_state"}),
            "cold": frozenset({"scale_state", "timestamps_reported"}),
            **UNKNOWN,
        },
        hosts=("api.runpod.ai", "api.runpod.io"),
        has_jobs=True,
    ),
    Service(
        name="potassium",
        kind="banana",
        needs={
            "LIVE_POTASSIUM_URL": "a Potassium server with the handler of providers/EXAMPLES.md"
        },
        setting=_potassium,
        rows=shapes.POTASSIUM,
        evidence={
            "warm": frozenset({"scale_state"}),
            "cold": frozenset({"connection_refused", "loading_reported"}),
            **UNKNOWN,
        },
        address="LIVE_POTASSIUM_URL",
        cannot_cancel="Potassium has no way to cancel",
        counts=frozenset({"reported", "estimated"}),
    ),
    Service(
        name="openai_chat",
        kind="openai_chat",
        needs={
            "LIVE_OPENAI_CHAT_URL": "base URL of a provider that speaks the dialect",
            "LIVE_OPENAI_CHAT_KEY": "its key",
            "LIVE_OPENAI_CHAT_MODEL": "its cheapest model",
        },
        setting=_openai_chat,
        rows=shapes.CHAT,
        evidence=UNKNOWN,
        address="LIVE_OPENAI_CHAT_URL",
    ),
    *(_gpu_server(server) for server in ("vllm", "sglang", "tgi", "nim", "llama.cpp", "ollama")),
)
BY_NAME = {service.name: service for service in SERVICES}
