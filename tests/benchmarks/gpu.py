"""The local backend on a real GPU: ``python -m tests.benchmarks.gpu --parameters 3b``.

Needs a CUDA GPU and the packages torch, transformers (with its server: openai, fastapi, uvicorn)
and the program nvidia-smi. Nothing is fetched: the model is a Llama of random weights that is made
first, so that its answers are noise and its seconds are real. The engine is ``transformers serve``,
run by the gateway as a ``command:``; what is printed stands beside what the card says of itself.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acceptance.gateways import Gateway, serving, until

USD_PER_SECOND = Decimal("0.001097")
IDLE_SECONDS = 4
ANSWER_TOKENS = 64
SHAPES = {
    "tiny": (256, 768, 4, 4, 2, 512),
    "3b": (3072, 8192, 28, 24, 8, 512),
    "8b": (4096, 14_336, 32, 32, 8, 512),
}
_READY = re.compile(r"engine \d+ ready in ([\d.]+) s")
_CONFIG = """
deployments:
  gpu:
    provider: local
    model: "{model}"
    command: [{python}, -m, transformers.cli.transformers, serve, "{{model}}", --host, 127.0.0.1,
              --port, "{{port}}"{more}]
    environment: {{HF_HUB_OFFLINE: "1", TRANSFORMERS_OFFLINE: "1"}}
    idle_timeout_seconds: {idle}
    price: {{usd_per_second: "{rate}", bills: [execute, boot, idle], shared: true}}
models:
  gpu: {{deployments: [gpu]}}
"""

_MAKE = """
import json, sys, torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

folder = sys.argv[1]
hidden, inner, layers, heads, kv_heads, words = json.loads(sys.argv[2])
spoken = Tokenizer(models.BPE())
spoken.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
spoken.decoder = decoders.ByteLevel()
letters = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(
    vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=letters
)
spoken.train_from_iterator(["the quick brown fox jumps over the lazy dog"], trainer)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=spoken, bos_token="<s>", eos_token="</s>", pad_token="</s>"
)
tokenizer.chat_template = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }} {% endfor %}assistant:"
)
tokenizer.save_pretrained(folder)
config = LlamaConfig(
    hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
    num_attention_heads=heads, num_key_value_heads=kv_heads, vocab_size=words,
    max_position_embeddings=8192, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True,
)
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
    model = LlamaForCausalLM(config)
model.generation_config.eos_token_id = None  # noise has no end of its own
model.save_pretrained(folder)
print(sum(weight.numel() for weight in model.parameters()))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", choices=SHAPES, default="3b")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--continuous-batching", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, seen in measure(Path(folder), given):
            print(json.dumps({name: seen}), flush=True)
    return 0


def measure(folder: Path, given: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Make the model, run the gateway before it, and say what is seen, as it is seen."""
    shape = json.dumps(SHAPES[given.parameters])
    made = subprocess.run(
        [sys.executable, "-c", _MAKE, str(folder / "model"), shape],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield "card", _card()
    yield "parameters", int(made.stdout.split()[-1])
    config = folder / "gateway.yml"
    more = ", --continuous-batching" if given.continuous_batching else ""
    config.write_text(
        _CONFIG.format(
            model=folder / "model",
            python=sys.executable,
            idle=IDLE_SECONDS,
            rate=USD_PER_SECOND,
            more=more,
        )
    )
    yield "memory_before_bytes", _memory_bytes()
    with serving(config, folder / "data", folder / "log") as gateway:
        yield "first", _booted(gateway, _ask(gateway))
        yield "memory_loaded_bytes", _memory_bytes()
        for _ in range(3):
            yield "warm", _told(_ask(gateway))
        yield "streamed", _streamed(gateway)
        yield "together", _together(gateway, given.at_once)
        yield "hang_up", _hang_up(gateway)
        gone = until(lambda: not gateway.children("transformers"), 60)
        yield "seconds_until_unloaded", round(gone, 3)
        yield "memory_unloaded_bytes", _memory_bytes()
        yield "again", _booted(gateway, _ask(gateway))
        (costs,) = gateway.get("/v1/costs?group_by=deployment")["data"]
        yield "costs", costs


def _ask(gateway: Gateway, **more: Any) -> Any:
    return gateway.generate(
        "gpu", parameters={"max_output_tokens": ANSWER_TOKENS, "temperature": 1}, **more
    )


def _told(answer: Any) -> dict[str, Any]:
    timing, usage = answer["timing"], answer["usage"]
    seconds, tokens = timing["execute_seconds"], usage["output_tokens"]
    return {
        "verdict": answer["cold_start"]["verdict"],
        "evidence": answer["cold_start"]["evidence"],
        "execute_seconds": seconds,
        "first_output_seconds": timing["first_output_seconds"],
        "output_tokens": tokens,
        "source": usage["source"],
        "tokens_per_second": round(tokens / seconds, 1) if tokens and seconds else None,
        "cost_usd": answer["cost"]["total_usd"],
        "cost_equals_seconds_times_rate": all(
            Decimal(line["usd"]) == Decimal(line["quantity"]) * USD_PER_SECOND
            for line in answer["cost"]["lines"]
        ),
    }


def _booted(gateway: Gateway, answer: Any) -> dict[str, Any]:
    ready = _READY.findall(gateway.log.read_text())[-1]
    return {
        **_told(answer),
        "boot_seconds": answer["timing"]["boot_seconds"],
        "spawned_to_ready_seconds": float(ready),
    }


def _streamed(gateway: Gateway) -> dict[str, Any]:
    began, deltas, first = time.monotonic(), 0, None
    body = {"parameters": {"max_output_tokens": ANSWER_TOKENS}}
    told: Any = None
    with gateway.stream("gpu", **body) as events:
        for name, data in events:
            if name == "delta":
                deltas += 1
                first = first or time.monotonic() - began
            told = data
    return {"deltas": deltas, "first_delta_seconds": round(first or 0.0, 4), **_told(told)}


def _together(gateway: Gateway, count: int) -> dict[str, Any]:
    """Several at once: their shares of the machine's seconds add up to the seconds themselves."""
    answers: list[Any] = []
    callers = [threading.Thread(target=lambda: answers.append(_ask(gateway))) for _ in range(count)]
    began = time.monotonic()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    wall_seconds = time.monotonic() - began
    billed = sum(
        Decimal(line["quantity"])
        for answer in answers
        for line in answer["cost"]["lines"]
        if line["kind"] == "execute_seconds"
    )
    tokens = sum(answer["usage"]["output_tokens"] for answer in answers)
    return {
        "answers": len(answers),
        "wall_seconds": round(wall_seconds, 3),
        "billed_seconds": str(billed),
        "tokens_per_second": round(tokens / wall_seconds, 1),
    }


def _hang_up(gateway: Gateway) -> dict[str, Any]:
    """Leave in mid-stream: until when does the card go on?"""
    body = {"parameters": {"max_output_tokens": 1000}}
    with gateway.stream("gpu", **body) as events:
        operation_id = next(data["id"] for name, data in events if name == "created")
        for name, _ in events:
            if name == "delta":
                break
    left_at = time.monotonic()
    with _utilization() as busy:
        time.sleep(1.0)
        still = [at for at, percent in busy if percent > 5]
    told = gateway.get(f"/v1/operations/{operation_id}")
    return {
        "status": told["status"],
        "cost": told["cost"]["status"],
        "card_busy_after_seconds": round(max(still) - left_at, 2) if still else 0.0,
    }


@contextmanager
def _utilization() -> Iterator[list[tuple[float, int]]]:
    seen: list[tuple[float, int]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            percent = _query("utilization.gpu")
            if percent is not None:
                seen.append((time.monotonic(), percent))
            done.wait(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _card() -> str | None:
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except OSError:
        return None


def _memory_bytes() -> int | None:
    used = _query("memory.used")
    return None if used is None else used << 20


def _query(what: str) -> int | None:
    asked = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(main())
