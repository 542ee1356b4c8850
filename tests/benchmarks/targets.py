"""What is put under load: a name, a process, and the two requests it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.benchmarks import answers, nginx
from tests.benchmarks.ledger import LedgerReader
from tests.benchmarks.load import Call
from tests.benchmarks.process import Footprint, ServerProcess

COMPLETION_MODEL = "benchmark"
STREAM_MODEL = "benchmark-stream"

NGINX = "nginx"
GATEWAY = "gateway"
LITELLM = "litellm"
PORTKEY = "portkey"
PEERS = frozenset({LITELLM, PORTKEY})


@dataclass(frozen=True)
class Target:
    """One relay between wrk and the upstream.

    ``children_apart``: its child processes do other work than relaying (the gateway's shipper),
    so their CPU and memory are counted in columns of their own.
    """

    name: str
    process: ServerProcess
    completion: Call
    stream: Call
    children_apart: bool = False
    ledger: LedgerReader | None = None
    version: str = ""

    def footprint(self) -> Footprint:
        """CPU and memory now; one sum where the children relay too (nginx's worker)."""
        footprint = self.process.footprint()
        return footprint if self.children_apart else footprint.as_one()


def completion_call(url: str, headers: Mapping[str, str]) -> Call:
    """A chat completion of COMPLETION_MODEL."""
    body = answers.request_body(COMPLETION_MODEL, stream=False)
    return Call(url, _with_content_type(headers), body, answers.check_completion)


def stream_call(url: str, headers: Mapping[str, str]) -> Call:
    """The stream of STREAM_MODEL, usage chunk included."""
    body = answers.request_body(STREAM_MODEL, stream=True)
    return Call(url, _with_content_type(headers), body, answers.check_stream)


def _with_content_type(headers: Mapping[str, str]) -> dict[str, str]:
    return {"content-type": "application/json", **headers}


def nginx_target(proxy: nginx.Nginx) -> Target:
    """The yardstick as a target."""
    return Target(
        name=NGINX,
        process=proxy.process,
        completion=completion_call(proxy.url + nginx.COMPLETION_PATH, {}),
        stream=stream_call(proxy.url + nginx.STREAM_PATH, {}),
    )
