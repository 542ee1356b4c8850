"""All six providers behind one gateway process, each as near to the real thing as a test can be.

Replicate, Modal, Hugging Face and RunPod are emulated; the SDK that speaks to Modal, the Potassium
server of Banana and the embedded model are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.acceptance.gateways import Gateway, serving
from tests.acceptance.stages import (
    BananaStage,
    GeneratorStage,
    HuggingFaceStage,
    LocalStage,
    ModalStage,
    ReplicateStage,
    RunPodStage,
    Stage,
)
from tests.emulators.huggingface import NAMESPACE, HuggingFace
from tests.emulators.huggingface_world import RealClock
from tests.emulators.modal import TOKEN, serve_modal
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import COLD
from tests.emulators.replicate_world import World
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_wire import COLD as RUNPOD_COLD
from tests.emulators.runpod_world import World as RunPodWorld
from tests.serving import serve

LOCAL_IDLE_SECONDS = 1
CONFIG = """
server: {{drain_seconds: 5}}
retries: {{backoff_seconds: 0.001}}
providers:
  replicate: {{api_token: "{replicate_key}", base_url: "{replicate}/v1", poll_seconds: 0.02}}
  modal: {{token_id: {modal_id}, token_secret: {modal_secret}, server_url: "{modal}",
           rpc_timeout_seconds: 10}}
  huggingface: {{token: "{huggingface_key}", base_url: "{huggingface}",
                 management_url: "{huggingface}/v2"}}
  banana: {{base_url: "{banana}"}}
  runpod: {{api_key: "{runpod_key}", base_url: "{runpod}/v2", management_url: "{runpod}/rest/v2",
            poll_seconds: 0.02}}
deployments:
  replicate: {{provider: replicate, model: emulated/chat, price: &l40s replicate-gpu-l40s}}
  replicate-quick: {{provider: replicate, model: emulated/quick, price: *l40s}}
  replicate-endless: {{provider: replicate, model: emulated/stalls, price: *l40s}}
  modal: {{provider: modal, model: chat, app: emulated, function: warm, price: &h100 modal-h100,
           input: &names {{prompt: prompt, max_output_tokens: max_tokens,
                          temperature: temperature}}}}
  modal-generator: {{provider: modal, model: chat, app: emulated, stream_method: warm@stream,
                     input: *names, price: *h100}}
  modal-silent: {{provider: modal, model: silent, app: emulated, stream_method: plain@stream,
                  input: *names, read_scale: false, price: *h100}}
  modal-endless: {{provider: modal, model: endless, app: emulated, function: never-answers,
                   input: *names, price: *h100}}
  modal-streaming: {{provider: modal, model: streaming, app: emulated, stream_method: stalls@stream,
                     input: *names, price: *h100}}
  modal-both: {{provider: modal, model: both, app: emulated, function: never-answers,
                stream_method: stalls@stream, input: *names, price: *h100}}
  huggingface: {{provider: huggingface, model: warm, via: endpoint, url: "{huggingface}/e/warm",
                 endpoint: {org}/warm, price: &t4 huggingface-endpoint-aws-t4-x1}}
  huggingface-held: {{provider: huggingface, model: held, via: endpoint,
                      url: "{huggingface}/e/held", endpoint: {org}/held,
                      scale_up_timeout_seconds: 60, price: *t4}}
  huggingface-bare: {{provider: huggingface, model: bare, via: endpoint,
                      url: "{huggingface}/e/bare", price: *t4}}
  huggingface-endless: {{provider: huggingface, model: stalls, via: endpoint,
                         url: "{huggingface}/e/stalls", endpoint: {org}/stalls, price: *t4}}
  router: {{provider: huggingface, model: "{org}/warm:cheapest", price: &tokens
            {{usd_per_million_input_tokens: "0.17", usd_per_million_output_tokens: "0.43"}}}}
  router-endless: {{provider: huggingface, model: "{org}/stalls:novita", price: *tokens}}
  banana: {{provider: banana, model: upper, input: *names, output_field: outputs,
            input_tokens_field: usage.tokens_in, output_tokens_field: usage.tokens_out,
            waits_when_refused: true, price: &own {{usd_per_second: "0.00055", shared: true,
            bills: [execute, boot]}}}}
  banana-silent: {{provider: banana, model: upper, input: *names, output_field: outputs,
                   status_path: null, price: *own}}
  banana-endless: {{provider: banana, model: stream, route: /stream, input: *names, price: *own}}
  runpod: {{provider: runpod, model: chat, endpoint: chat, input: *names, streams: true,
            output_field: text, input_tokens_field: usage.tokens_in,
            output_tokens_field: usage.tokens_out, price: &pod runpod-l40s}}
  runpod-blind: {{provider: runpod, model: blind, endpoint: blind, input: *names, streams: true,
                  output_field: text, read_workers: false, price: *pod}}
  runpod-endless: {{provider: runpod, model: endless, endpoint: stalls, input: *names,
                    streams: true, output_field: text, price: *pod}}
  local: {{provider: local, model: smollm2-135m-instruct, price: local-cpu, threads: 1, slots: 1,
           context_tokens: 1024, idle_timeout_seconds: {local_idle}}}
models: {{{models}}}
"""
MODELS = (
    *("replicate", "replicate-quick", "replicate-endless"),
    *("modal", "modal-generator", "modal-silent", "modal-endless", "modal-streaming", "modal-both"),
    *(
        "huggingface",
        "huggingface-held",
        "huggingface-bare",
        "huggingface-endless",
        "router",
        "router-endless",
    ),
    *("banana", "banana-silent", "banana-endless", "local"),
    *("runpod", "runpod-blind", "runpod-endless"),
)


@dataclass(frozen=True)
class Six:
    """The gateway, and what stands behind it."""

    gateway: Gateway
    replicate: ReplicateStage
    modal: ModalStage
    generator: GeneratorStage
    huggingface: HuggingFaceStage
    held: HuggingFaceStage
    banana: BananaStage
    runpod: RunPodStage
    local: LocalStage
    router: HuggingFace

    def stage(self, name: str) -> Stage:
        found: Stage = getattr(self, name)
        return found


@contextmanager
def six_providers(folder: Path) -> Iterator[Six]:
    """Everything up, with all machines cold."""
    replicate = Replicate(World(scale=500.0, boot_seconds=90.0, keep_alive_seconds=120.0))
    replicate.models["emulated/chat"] = replace(COLD, execute_seconds=12.0)
    replicate.models["emulated/quick"] = replace(COLD, boot_seconds=3.0)
    runpod = RunPod(RunPodWorld(scale=500.0))
    runpod.endpoint("chat", replace(RUNPOD_COLD, execute_seconds=12.0))
    runpod.endpoint("blind", replace(RUNPOD_COLD, boots_until_seen=0))
    clock = RealClock()
    huggingface = HuggingFace(clock=clock)
    banana = BananaStage(folder)
    with ExitStack() as stack:
        modal = stack.enter_context(
            serve_modal(speed=1.0, boot_seconds=0.3, execute_seconds=0.1, scaledown_seconds=60.0)
        )
        replicate.url = stack.enter_context(serve(replicate))
        huggingface.url = stack.enter_context(serve(huggingface))
        runpod.url = stack.enter_context(serve(runpod))
        stack.callback(banana.rest)
        config = folder / "gateway.yml"
        config.write_text(
            CONFIG.format(
                replicate=replicate.url,
                replicate_key=replicate.key,
                modal=modal.url,
                modal_id=TOKEN[0],
                modal_secret=TOKEN[1],
                huggingface=huggingface.url,
                huggingface_key=huggingface.key,
                org=NAMESPACE,
                banana=banana.url,
                runpod=runpod.url,
                runpod_key=runpod.key,
                local_idle=LOCAL_IDLE_SECONDS,
                models=", ".join(f"{name}: {{deployments: [{name}]}}" for name in MODELS),
            )
        )
        gateway = stack.enter_context(serving(config, folder / "data", folder / "log"))
        yield Six(
            gateway,
            ReplicateStage(replicate),
            ModalStage(modal),
            GeneratorStage(modal),
            HuggingFaceStage(huggingface, clock, "huggingface", "warm"),
            HuggingFaceStage(huggingface, clock, "huggingface-held", "held"),
            banana,
            RunPodStage(runpod),
            LocalStage(gateway),
            huggingface,
        )
