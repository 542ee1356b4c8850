"""The gateway as a stranger would run it: one process, keys, prices, journal and shipper all on."""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks import answers, nginx
from tests.benchmarks.ledger import LedgerReader
from tests.benchmarks.load import WrongStatus, send_once
from tests.benchmarks.prerequisites import Broken
from tests.benchmarks.process import free_port, running_server
from tests.benchmarks.targets import (
    COMPLETION_MODEL,
    GATEWAY,
    STREAM_MODEL,
    Target,
    completion_call,
    stream_call,
)

_PROGRAM = Path(sys.executable).with_name("gateway")
_USD_PER_MILLION_INPUT_TOKENS = Decimal("0.05")
_USD_PER_MILLION_OUTPUT_TOKENS = Decimal("0.08")


def usd_per_answer(output_tokens: int) -> Decimal:
    """The exact price of one answer of the upstream."""
    micro_usd = (
        answers.INPUT_TOKENS * _USD_PER_MILLION_INPUT_TOKENS
        + output_tokens * _USD_PER_MILLION_OUTPUT_TOKENS
    )
    return micro_usd / 1_000_000


def _settings(upstream_url: str, key: str) -> dict[str, Any]:
    price = {
        "usd_per_million_input_tokens": str(_USD_PER_MILLION_INPUT_TOKENS),
        "usd_per_million_output_tokens": str(_USD_PER_MILLION_OUTPUT_TOKENS),
    }
    paths = {COMPLETION_MODEL: "/v1", STREAM_MODEL: nginx.STREAM_PREFIX + "/v1"}
    return {
        "auth": {
            "mode": "keys",
            "keys": [
                {
                    "name": "benchmark",
                    "sha256": hashlib.sha256(key.encode()).hexdigest(),
                    "scopes": ["generate", "reports"],
                }
            ],
        },
        "providers": {
            model: {
                "kind": "openai_chat",
                "base_url": upstream_url + path,
                "api_key": "upstream-key",
            }
            for model, path in paths.items()
        },
        "deployments": {
            model: {"provider": model, "model": "upstream-model", "price": price} for model in paths
        },
        "models": {model: {"deployments": [model]} for model in paths},
    }


@contextmanager
def running_gateway(
    upstream_url: str, scratch: Path, count_upstream_calls: Callable[[], int] | None = None
) -> Iterator[Target]:
    """``gateway serve`` on a new data folder, with two models at the upstream.

    Its ledger is held against the load only where the upstream's calls are counted too.
    """
    scratch.mkdir(parents=True)
    key = secrets.token_urlsafe(32)
    config = scratch / "gateway.yaml"
    config.write_text(yaml.safe_dump(_settings(upstream_url, key)))
    port = free_port()
    command = [
        *(str(_PROGRAM), "serve", "--config", str(config)),
        *("--host", "127.0.0.1", "--port", str(port), "--data-dir", str(scratch / "data")),
    ]
    headers = {"authorization": f"Bearer {key}"}
    url = f"http://127.0.0.1:{port}{nginx.COMPLETION_PATH}"
    start_time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    with running_server(command, port=port, ready_path="/healthz", scratch=scratch) as process:
        _require_keys(url)
        ledger = None
        if count_upstream_calls is not None:
            ledger = LedgerReader(port, headers, start_time, count_upstream_calls)
        yield Target(
            name=GATEWAY,
            process=process,
            completion=completion_call(url, headers),
            stream=stream_call(url, headers),
            children_apart=True,
            ledger=ledger,
        )


def _require_keys(url: str) -> None:
    """Figures without authentication would flatter: nobody runs the gateway like that."""
    refused = completion_call(url, {})
    try:
        send_once(refused)
    except WrongStatus as exc:
        if exc.status == 401:
            return
        raise
    raise Broken("the gateway answered a request without a key")
