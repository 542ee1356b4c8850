"""The six providers as a test plays them: what each call really was, and how machines go cold."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from providers.local.launch import free_port
from providers.testing.scenarios import INPUT_TOKENS, OUTPUT_TOKENS
from tests.acceptance.gateways import Gateway, exchange, until
from tests.emulators.huggingface import HuggingFace
from tests.emulators.huggingface_world import RealClock
from tests.emulators.modal import Modal
from tests.emulators.modal_world import Truth as Known
from tests.emulators.potassium_server import server
from tests.emulators.replicate import Replicate
from tests.emulators.runpod import RunPod

BODY: dict[str, Any] = {
    "input": "Why is the sky blue?",
    "parameters": {"max_output_tokens": 8, "temperature": 0.0},
}
"""What every provider is asked, to the letter; only ``model`` differs."""
WATCH_SECONDS = 0.005


@dataclass(frozen=True)
class Truth:
    """What the last call of a provider really was.

    ``stated``: seconds that the wire carries, to the microsecond; ``stamped``: those that the
    gateway's own clock must find. ``usd`` None: it follows from stamped seconds.
    """

    cold: bool
    evidence: str
    caused_boot: bool | None
    stated: dict[str, float | None] = field(default_factory=dict)
    stamped: dict[str, float] = field(default_factory=dict)
    tokens: tuple[int, int] | None = None
    source: str = "reported"  # of the tokens; what an app counts for itself is "counted"
    usd: Decimal | None = None


class Stage:
    """One provider as a test plays it."""

    model = ""

    def rest(self) -> None:
        """Let its machines go cold."""
        raise NotImplementedError

    def truth(self, answer: Any) -> Truth:
        """About the last call, whose answer came just now."""
        raise NotImplementedError

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Around a call."""
        yield


def due(seconds: float, usd_per_second: str) -> Decimal:
    """So many seconds at a rate, quantised as a cost line is."""
    return (Decimal(str(seconds)) * Decimal(usd_per_second)).quantize(Decimal("1E-12"))


class ReplicateStage(Stage):
    """Cold or warm by its stamps; a boot's seconds are not told apart from a queue's."""

    model = "replicate"

    def __init__(self, app: Replicate) -> None:
        self.app = app

    def rest(self) -> None:
        self.app.world.advance(self.app.world.keep_alive_seconds + 1)

    def truth(self, answer: Any) -> Truth:
        made = self.app.last()
        assert answer["attempts"][0]["upstream_id"] == made.id
        waited = made.queue_seconds + made.boot_seconds + made.model.dispatch_seconds
        return Truth(
            made.cold,
            "timestamps_reported",
            None if made.cold else False,
            stated={
                "queue_seconds": None,
                "boot_seconds": None if made.cold else 0.0,
                "wait_seconds": round(waited, 6),
                "execute_seconds": round(made.execute_seconds, 6),
            },
            tokens=(
                made.model.metrics["input_token_count"],
                made.model.metrics["output_token_count"],
            ),
            usd=made.billed_usd.quantize(Decimal("1E-12")),
        )


class ModalStage(Stage):
    """A function that returns: Modal stamps its calls and its containers."""

    model = "modal"
    evidence = ("scale_state", "timestamps_reported")
    usd_per_second = "0.001097"  # an H100

    def __init__(self, app: Modal) -> None:
        self.app = app

    def rest(self) -> None:
        world = self.app.world
        self.app.do(lambda: world.advance(world.scaledown_seconds + 1))
        until(lambda: not any(pool.up for pool in world.pools.values()))

    def stated(self, truth: Known) -> dict[str, float | None]:
        """The seconds that its wire carries."""
        return {
            "queue_seconds": truth.queue_seconds if truth.cold else None,
            "boot_seconds": truth.boot_seconds,
            "wait_seconds": truth.wait_seconds,
            "execute_seconds": truth.execute_seconds,
        }

    def truth(self, answer: Any) -> Truth:
        truth = self.app.truths("warm")[-1]
        boot_seconds = truth.boot_seconds if truth.caused_boot else 0.0
        return Truth(
            truth.cold,
            self.evidence[0 if truth.cold else 1],
            truth.caused_boot,
            self.stated(truth),
            tokens=(INPUT_TOKENS, OUTPUT_TOKENS),
            source="counted",
            usd=due(truth.execute_seconds, self.usd_per_second)
            + due(boot_seconds, self.usd_per_second),
        )


class GeneratorStage(ModalStage):
    """A function that yields: there are no stamps, it says itself how it booted and worked."""

    model = "modal-generator"
    evidence = ("scale_state", "delay_reported")

    def stated(self, truth: Known) -> dict[str, float | None]:
        return {"boot_seconds": truth.boot_seconds, "execute_seconds": truth.execute_seconds}


class HuggingFaceStage(Stage):
    """A dedicated endpoint: its state is the evidence, all seconds are the gateway's own.

    Asleep, it refuses calls until it is up, or holds them where the deployment asks for that.
    """

    def __init__(self, app: HuggingFace, clock: RealClock, model: str, endpoint: str) -> None:
        self.model = model
        self._clock = clock
        self._endpoint = app.endpoint(endpoint, idle_seconds=900, work_seconds=0.02)
        self._boots_seconds = itertools.cycle((0.25, 0.33, 0.41))
        self._seen_before = 0

    def rest(self) -> None:
        self._clock.advance(self._endpoint.idle_seconds + 1)
        self._endpoint.boot_seconds = next(self._boots_seconds)

    @contextmanager
    def asked(self) -> Iterator[None]:
        self._seen_before = len(self._endpoint.seen)
        yield

    def truth(self, answer: Any) -> Truth:
        first = self._endpoint.seen[self._seen_before]
        cold = first.state != "running"
        stamped = {"execute_seconds": self._endpoint.served_seconds[-1]}
        if cold:
            stamped["boot_seconds"] = self._endpoint.ups[-1].ready_at - first.at
        tokens = (INPUT_TOKENS, OUTPUT_TOKENS)
        return Truth(cold, "scale_state", first.caused_boot, stamped=stamped, tokens=tokens)


class BananaStage(Stage):
    """A real Potassium server, ended when idle and started for a call, as Banana's replicas were.

    The call comes when the model begins to load, so that its wait does not depend on how busy the
    machine is: the longer a wait, the less exact its end, which is seen by asking again.
    """

    model = "banana"
    load_seconds = 0.4

    def __init__(self, folder: Path) -> None:
        self._begun = folder / "potassium-begun"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._replica = ExitStack()
        self._up = False
        self._cold = False
        self._begun_at = self._ready_at = 0.0

    def rest(self) -> None:
        self._replica.close()
        self._up = False
        until(lambda: not self.listens())

    def start(self) -> None:
        self._up = True
        self._begun.unlink(missing_ok=True)
        self._replica.enter_context(server(self.port, self.load_seconds, self._begun))

    @contextmanager
    def asked(self) -> Iterator[None]:
        self._cold = not self._up
        if not self._cold:
            yield
            return
        self.start()
        until(self._begun.exists)
        watch = threading.Thread(target=self._watch)
        self._begun_at = time.monotonic()
        watch.start()
        yield
        watch.join(20)

    def truth(self, answer: Any) -> Truth:
        stamped = {"execute_seconds": self.call("POST", "/facts", {})["worked"][-1]}
        if self._cold:
            stamped["boot_seconds"] = self._ready_at - self._begun_at
        until(lambda: self.call("GET", "/_k/status")["gpu_available"])
        evidence = "connection_refused" if self._cold else "scale_state"
        tokens = (len(BODY["input"].split()), 2)
        caused_boot = None if self._cold else False  # the server does not say for whom it starts
        return Truth(self._cold, evidence, caused_boot, stamped=stamped, tokens=tokens)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the server itself."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            return exchange(connection, method, path, body).json
        finally:
            connection.close()

    def _watch(self) -> None:
        while not self.listens():
            time.sleep(WATCH_SECONDS)
        self._ready_at = time.monotonic()

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class RunPodStage(Stage):
    """Milliseconds of a job, and whole seconds of the worker that took it."""

    model = "runpod"

    def __init__(self, app: RunPod) -> None:
        self.app = app

    def rest(self) -> None:
        self.app.world.stop_all("chat")

    def truth(self, answer: Any) -> Truth:
        made = self.app.last()
        assert answer["attempts"][0]["upstream_id"] == made.id
        wait_seconds, execute_seconds = round(made.wait_seconds, 3), round(made.execute_seconds, 3)
        queue_seconds, boot_seconds = wait_seconds, 0.0
        if made.cold:
            started, created = (
                at.replace(microsecond=0) for at in (made.worker.started_at, made.created)
            )
            queue_seconds = (started - created).total_seconds()
            boot_seconds = round(wait_seconds - queue_seconds, 6)
        return Truth(
            made.cold,
            "scale_state" if made.cold else "delay_reported",
            made.caused_boot,
            stated={
                "queue_seconds": queue_seconds,
                "boot_seconds": boot_seconds,
                "wait_seconds": wait_seconds,
                "execute_seconds": execute_seconds,
            },
            tokens=(INPUT_TOKENS, OUTPUT_TOKENS),
            usd=due(execute_seconds, "0.00053") + due(boot_seconds, "0.00053"),
        )


class LocalStage(Stage):
    """The embedded model; a watcher sees its process appear and its server get ready."""

    model = "local"

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._boot_seconds: float | None = None
        self._tokens: tuple[int, int] | None = None

    def rest(self) -> None:
        until(lambda: not self._gateway.engines())

    @contextmanager
    def asked(self) -> Iterator[None]:
        self._boot_seconds = None
        if self._gateway.engines():
            yield
            return
        watch = threading.Thread(target=self._watch)
        watch.start()
        yield
        watch.join(20)

    def truth(self, answer: Any) -> Truth:
        boot_seconds = self._boot_seconds
        if self._tokens is None:
            timings, _ = self.work()
            self._tokens = (timings["prompt_n"] + timings["cache_n"], timings["predicted_n"])
        if boot_seconds is None:
            return Truth(False, "scale_state", False, tokens=self._tokens)
        stamped = {"boot_seconds": boot_seconds}
        return Truth(True, "process_started", True, stamped=stamped, tokens=self._tokens)

    def work(self) -> tuple[Any, float]:
        """The engine's own account of one call, and the gateway's seconds of its work."""
        asked = {
            "model": self.model,
            "messages": [{"role": "user", "content": BODY["input"]}],
            "max_tokens": BODY["parameters"]["max_output_tokens"],
            "temperature": 0,
        }
        answer = self._gateway.call("POST", "/v1/chat/completions", asked).json
        told = self._gateway.get(f"/v1/operations/{answer['id']}")
        return answer["timings"], told["timing"]["execute_seconds"]

    def engine(self) -> psutil.Process:
        (engine,) = self._gateway.engines().values()
        return engine

    def _watch(self) -> None:
        begun_at = time.monotonic()
        while not (engines := self._gateway.engines()):
            time.sleep(WATCH_SECONDS)
            begun_at = time.monotonic()
        (engine,) = engines.values()
        while not (ports := listening(engine)):
            time.sleep(WATCH_SECONDS)
        while health(ports[0]) != 200:
            time.sleep(WATCH_SECONDS)
        self._boot_seconds = time.monotonic() - begun_at


def listening(process: psutil.Process) -> list[int]:
    """The ports that a process, or the one below it, listens at."""
    family = [process, *process.children(recursive=True)]
    sockets = [socket for member in family for socket in member.net_connections("inet")]
    return [socket.laddr.port for socket in sockets if socket.status == psutil.CONN_LISTEN]


def health(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        return exchange(connection, "GET", "/health").status
    finally:
        connection.close()
