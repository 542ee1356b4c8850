"""One body, six providers: the same answer, and what the emulators know to be true.

``pytest -s`` shows, for each provider, what was held against its truth.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from providers.testing.scenarios import ANSWER, INPUT_TOKENS, OUTPUT_TOKENS
from tests.acceptance.gateways import until
from tests.acceptance.six_providers import Six, six_providers
from tests.acceptance.stages import BODY, Truth, listening
from tests.emulators.huggingface import NAMESPACE

PROVIDERS = (
    *("replicate", "modal", "generator", "huggingface", "held", "banana", "runpod", "local"),
)
# Whether the machines go cold first, and whether the caller wants a stream.
ROUNDS = ((True, False), (False, True), (True, True), (False, False), (True, False))
# A quartile of errors asks for several; a busy machine can make it need some more.
FURTHER_ROUNDS = ((True, False),) * 4
SOON_SECONDS = 1.0  # until a provider sees that its caller has left
NEAR_SECONDS = 0.05  # of the errors of what the gateway stamps


@dataclass
class Held:
    """What was held against one provider's truth."""

    verdicts: int = 0
    stated: int = 0
    boot_errors: list[float] = field(default_factory=list)
    execute_errors: list[float] = field(default_factory=list)
    costs: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether the seconds that the gateway stamped are near enough to the truth.

        A stamp at the wrong place is wrong each time; a busy machine is late now and then, and more
        often the busier it is. So the first quartile is asked, not the median.
        """
        stamped = [sorted(errors) for errors in (self.boot_errors, self.execute_errors)]
        return all(errors[len(errors) // 4] <= NEAR_SECONDS for errors in stamped if errors)

    def row(self) -> str:
        shown = [f"{self.verdicts:8} {self.stated:6}"]
        for errors in (self.boot_errors, self.execute_errors):
            told = "-"
            if errors:
                told = f"{statistics.median(errors) * 1000:.1f} / {max(errors) * 1000:.1f}"
            shown.append(f"{told:>14}")
        return f"{' '.join(shown)} {self.costs:5}"


@pytest.fixture(scope="module")
def book() -> Iterator[dict[str, Held]]:
    table: dict[str, Held] = {}
    yield table
    print(f"\n{'':12} {'verdicts':8} {'stated':6} {'boot ms':>14} {'execute ms':>14} {'costs':5}")
    print(f"{'':12} {'':8} {'exact':6} {'median / max':>14} {'median / max':>14} {'exact':5}")
    for name, row in table.items():
        print(f"{name:12} {row.row()}")


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Six]:
    with six_providers(tmp_path_factory.mktemp("six")) as running:
        yield running


def ask(six: Six, model: str, *, stream: bool) -> tuple[Any, str]:
    """The answer and its text, whichever way it came."""
    body = {**BODY, "model": model}
    if not stream:
        answer = six.gateway.call("POST", "/v1/generate", body).json
        assert answer.get("status") == "succeeded", answer
        return answer, answer["output"][0]["text"]
    with six.gateway.stream(**body) as events:
        told = list(events)
    text = "".join(data["text"] for event, data in told if event == "delta")
    assert told[-1][0] == "finished", told[-1]
    answer = told[-1][1]
    assert answer["output"] == [{"type": "text", "text": text}]
    return answer, text


def check_cost(answer: Any, truth: Truth) -> None:
    """Every line is quantity times price, and what they add up to is the bill."""
    cost = answer["cost"]
    billed = {line["kind"] for line in cost["lines"]}
    nobodys = "boot_seconds" in billed and answer["cold_start"]["caused_boot"] is None
    assert cost["status"] == ("estimated" if nobodys else "measured")
    for line in cost["lines"]:
        exact = Decimal(line["quantity"]) * Decimal(line["unit_price_usd"])
        assert Decimal(line["usd"]) == exact.quantize(Decimal("1E-12"))
        if line["kind"] in answer["timing"]:
            seconds = answer["timing"][line["kind"]]
            assert Decimal(line["quantity"]) == Decimal(str(round(seconds, 6)))
    total = sum(Decimal(line["usd"]) for line in cost["lines"])
    assert total == Decimal(cost["total_usd"]) == Decimal(answer["attempts"][0]["cost_usd"])
    if truth.usd is not None:
        assert total == truth.usd


def check(answer: Any, truth: Truth, held: Held) -> None:
    verdict = answer["cold_start"]
    assert verdict["verdict"] == ("cold" if truth.cold else "warm")
    assert (verdict["evidence"], verdict["caused_boot"]) == (truth.evidence, truth.caused_boot)
    held.verdicts += 1
    for name, seconds in truth.stated.items():
        assert answer["timing"][name] == seconds, name
        held.stated += 1
    for name, seconds in truth.stamped.items():
        errors = held.boot_errors if name == "boot_seconds" else held.execute_errors
        errors.append(abs(answer["timing"][name] - seconds))
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == truth.tokens
    assert answer["usage"]["source"] == truth.source
    check_cost(answer, truth)
    held.costs += 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_cold_warm_and_cold_again(six: Six, book: dict[str, Held], name: str) -> None:
    stage, mine = six.stage(name), book.setdefault(name, Held())
    texts: set[str] = set()
    told: list[tuple[bool, bool]] = []
    for rests, stream in ROUNDS + FURTHER_ROUNDS:
        if len(told) >= len(ROUNDS) and mine.is_exact:
            break
        if rests:
            stage.rest()
        with stage.asked():
            answer, text = ask(six, stage.model, stream=stream)
        truth = stage.truth(answer)
        check(answer, truth, mine)
        texts.add(text)
        told.append((rests, truth.cold))
    assert all(cold for rests, cold in told if rests)
    warm = [not cold for rests, cold in told if not rests]
    # The embedded model's idle second is a real one, and may pass on a busy machine.
    assert any(warm) if name == "local" else all(warm)
    assert len(texts) == 1 and texts != {""}
    assert mine.is_exact, mine


def test_what_the_embedded_engine_says_of_its_own_work(six: Six, book: dict[str, Held]) -> None:
    ask(six, "local", stream=False)
    mine = book.setdefault("local", Held())
    for _ in range(5):
        timings, execute_seconds = six.local.work()
        engine_seconds = (timings["prompt_ms"] + timings["predicted_ms"]) / 1000
        mine.execute_errors.append(abs(execute_seconds - engine_seconds))
    assert mine.is_exact, mine


@pytest.mark.parametrize("stream", [False, True], ids=["unstreamed", "streamed"])
def test_the_router_is_paid_by_the_token_and_says_nothing_of_starts(
    six: Six, book: dict[str, Held], stream: bool
) -> None:
    answer, text = ask(six, "router", stream=stream)
    sent = six.router.chat.received[-1].body
    assert text == ANSWER and sent["model"] == "warm"
    assert six.router.received[-1].body["model"] == f"{NAMESPACE}/warm:cheapest"
    assert (answer["cold_start"]["verdict"], answer["cold_start"]["evidence"]) == ("unknown", None)
    price = INPUT_TOKENS * Decimal("0.17") + OUTPUT_TOKENS * Decimal("0.43")
    assert Decimal(answer["cost"]["total_usd"]) == price / 1_000_000
    assert answer["usage"]["source"] == "reported"
    mine = book.setdefault("router", Held())
    mine.verdicts += 1
    mine.costs += 1


@pytest.mark.parametrize(
    ("model", "evidence"),
    [
        ("replicate-quick", None),  # 3 s: too long for warm, too short for cold
        ("modal-silent", None),  # a generator that says nothing of itself
        ("huggingface-bare", "latency_only"),  # an address alone: a boot, an outage or a pause
        ("banana-silent", None),  # a server that is not asked for its status
        ("runpod-blind", None),  # a delay alone is queue and boot together
    ],
)
def test_without_evidence_nothing_is_claimed(
    six: Six, book: dict[str, Held], model: str, evidence: str | None
) -> None:
    six.router.endpoint("bare", boot_seconds=0.1)
    name = model.partition("-")[0]
    stage: Any = six.stage(name)
    stage.rest()
    if name == "banana":
        stage.start()
        until(stage.listens)
    answer, text = ask(six, model, stream=True)
    assert text
    told = answer["cold_start"]
    assert (told["verdict"], told["evidence"]) == ("unknown", evidence)
    book.setdefault(name, Held()).verdicts += 1


def left(six: Six, model: str, at: str) -> str:
    """A stream that is hung up at its first event of that name; the operation's id."""
    with six.gateway.stream(**{**BODY, "model": model}) as events:
        operation: str = next(events)[1]["id"]
        assert any(name == at for name, _ in events)
    return operation


def booked(six: Six, operation: str) -> Any:
    """The operation, once it is booked as cancelled."""
    path = f"/v1/operations/{operation}"

    def over() -> bool:
        """The database may be behind for a moment."""
        answer = six.gateway.call("GET", path)
        return answer.status == 200 and answer.json["status"] != "running"

    until(over, 20)
    told = six.gateway.get(path)
    assert told["status"] == "cancelled"
    assert [attempt["status"] for attempt in told["attempts"]] == ["cancelled"]
    return told


def test_replicate_cancels_for_a_caller_who_left(six: Six) -> None:
    app = six.replicate.app
    operation = left(six, "replicate-endless", "delta")
    until(lambda: app.stopped("stalls") == 1, SOON_SECONDS)
    assert app.last().status == "canceled"
    (attempt,) = booked(six, operation)["attempts"]
    assert attempt["upstream_id"] == app.last().id
    assert len(app.sent("POST", f"{app.last().id}/cancel")) == 1


@pytest.mark.parametrize("model", ["huggingface-endless", "router-endless"])
def test_hugging_face_sees_a_caller_leave(six: Six, model: str) -> None:
    six.router.endpoint("stalls").running()
    before = six.router.chat.stopped("stalls")
    operation = left(six, model, "delta")
    until(lambda: six.router.chat.stopped("stalls") == before + 1, SOON_SECONDS)
    assert booked(six, operation)["cost"]["total_usd"] is not None


def test_runpod_stops_a_job_whose_caller_left(six: Six) -> None:
    app = six.runpod.app
    operation = left(six, "runpod-endless", "delta")
    until(lambda: app.stopped("stalls") == 1, SOON_SECONDS)
    (attempt,) = booked(six, operation)["attempts"]
    assert attempt["upstream_id"] == app.last().id
    assert len(app.sent("POST", f"/cancel/{app.last().id}")) == 1


def test_modal_ends_a_function_whose_caller_left(six: Six) -> None:
    operation = left(six, "modal-endless", "booting")
    until(lambda: six.modal.app.stopped("never-answers") == 1, SOON_SECONDS)
    assert booked(six, operation)["cold_start"]["verdict"] == "cold"


def test_modal_is_asked_for_what_can_be_ended_where_no_stream_is_wanted(six: Six) -> None:
    """A deployment with both: who wants no stream gets the function that returns."""
    app = six.modal.app
    begun, stopped = app.began("never-answers"), app.stopped("never-answers")
    connection = six.gateway.connect()
    body = json.dumps({**BODY, "model": "modal-both"})
    connection.request("POST", "/v1/generate", body, {"content-type": "application/json"})
    until(lambda: app.began("never-answers") == begun + 1)
    connection.close()
    until(lambda: app.stopped("never-answers") == stopped + 1, SOON_SECONDS)


def test_modal_s_generators_go_on_and_their_cost_says_so(six: Six) -> None:
    """The SDK sends nothing when a stream is left, and the documents say that."""
    app = six.modal.app
    operation = left(six, "modal-streaming", "delta")
    told = booked(six, operation)
    (call,) = app.calls("stalls")
    assert app.stopped("stalls") == 0 and call.result is None  # it works on, and bills
    cost = told["cost"]
    lines = {line["kind"]: line for line in cost["lines"]}
    assert cost["status"] == lines["execute_seconds"]["status"] == "estimated"
    low, high = Decimal(cost["range_usd"]["low"]), Decimal(cost["range_usd"]["high"])
    assert 0 <= low <= Decimal(cost["total_usd"]) < high
    assert high >= 900 * Decimal("0.001097")  # as long as an operation may take
    documented = (Path(__file__).parents[2] / "gateway" / "CONFIGURATION.md").read_text()
    assert "Work that streams cannot be cancelled through Modal's SDK" in documented


def test_potassium_is_left_but_does_not_stop(six: Six) -> None:
    if not six.banana.listens():
        six.banana.start()
        until(six.banana.listens)
    operation = left(six, "banana-endless", "delta")
    until(lambda: not connected(six, six.banana.port), SOON_SECONDS)
    cost = booked(six, operation)["cost"]
    assert cost["status"] == "estimated" and cost["range_usd"]["high"] is not None
    six.banana.rest()  # its handler works on


def test_the_embedded_engine_stops_for_a_caller_who_left(six: Six) -> None:
    ask(six, "local", stream=False)
    (port,) = listening(six.local.engine())
    body = {**BODY, "model": "local", "parameters": {"max_output_tokens": 900}}
    with six.gateway.stream(**body) as events:
        operation = next(events)[1]["id"]
        assert any(name == "delta" for name, _ in events)
    until(lambda: not connected(six, port), SOON_SECONDS)
    told = booked(six, operation)
    assert told["cost"]["status"] == "measured" and told["usage"]["output_tokens"] < 900
    begun = time.monotonic()
    ask(six, "local", stream=False)  # its only slot is free
    assert time.monotonic() - begun < 5  # the whole story would take it longer


def connected(six: Six, port: int) -> bool:
    """Whether the gateway holds a connection to a port of this machine."""
    sockets = psutil.Process(six.gateway.process.pid).net_connections("inet")
    return any(
        socket.raddr and socket.raddr.port == port and socket.status == psutil.CONN_ESTABLISHED
        for socket in sockets
    )
