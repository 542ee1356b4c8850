from __future__ import annotations

import random
import time

import pytest

from providers.contract import ProtocolViolation
from providers.toolkit.sse import SseEvent, SseParser


def parse(*chunks: bytes, close: bool = False) -> list[SseEvent]:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.close() if close else events


def test_the_plain_stream() -> None:
    assert parse(b'data: {"a":1}\n\ndata: [DONE]\n\n') == [
        SseEvent(b'{"a":1}'),
        SseEvent(b"[DONE]"),
    ]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data:no space\n\n", [SseEvent(b"no space")]),
        (b"data:  two\n\n", [SseEvent(b" two")]),
        (b"data: a\ndata: b\n\n", [SseEvent(b"a\nb")]),
        (b"data\n\n", [SseEvent(b"")]),
        (b"data:\n\n", [SseEvent(b"")]),
        (b": comment\n\ndata: a\n\n", [SseEvent(b"a")]),
        (b": comment\ndata: a\n\n", [SseEvent(b"a")]),
        (b"\n\n\n\ndata: a\n\n\n", [SseEvent(b"a")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [SseEvent(b"a", "error"), SseEvent(b"b")]),
        (b"event:\ndata: a\n\n", [SseEvent(b"a")]),
        (b"id: 1\ndata: a\n\ndata: b\n\n", [SseEvent(b"a", id="1"), SseEvent(b"b", id="1")]),
        (b"id: 1\n\ndata: b\n\n", [SseEvent(b"b", id="1")]),
        (b"id: a\0b\ndata: a\n\n", [SseEvent(b"a")]),
        (b"event: alone\n\n", []),
        (b"unknown: x\ndata: a\n\n", [SseEvent(b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [SseEvent(b"a")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [SseEvent(b"a"), SseEvent(b"b")]),
        (b"data: a\r\rdata: b\r\r", [SseEvent(b"a"), SseEvent(b"b")]),
        (
            b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\r",
            [SseEvent(b"a"), SseEvent(b"b"), SseEvent(b"c")],
        ),
        ("data: Grüße ✓\n\n".encode(), [SseEvent("Grüße ✓".encode())]),
        (b"data: a\n", []),
    ],
)
def test_the_standard_at_every_split(stream: bytes, events: list[SseEvent]) -> None:
    assert parse(stream) == events
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == events
    for cut in range(len(stream) + 1):
        assert parse(stream[:cut], stream[cut:]) == events
        assert parse(stream[:cut], b"", stream[cut:]) == events


def test_random_splits_of_a_mixed_stream() -> None:
    dice = random.Random(1)
    ends = [b"\n", b"\r\n", b"\r"]
    for _ in range(200):
        end = dice.choice(ends)
        stream = b"".join(b"data: %d" % i + end + end for i in range(20))
        cuts = sorted(dice.sample(range(len(stream)), 8))
        chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert [event.data for event in parse(*chunks)] == [b"%d" % i for i in range(20)]


def test_close_gives_the_event_that_lacks_its_blank_line() -> None:
    assert parse(b"data: a\n\ndata: b", close=True) == [SseEvent(b"a"), SseEvent(b"b")]
    assert parse(b"data: a\n\ndata: b\n", close=True) == [SseEvent(b"a"), SseEvent(b"b")]
    assert parse(b"data: a\n\n", close=True) == [SseEvent(b"a")]


def test_retry() -> None:
    parser = SseParser()
    parser.feed(b"retry: 1500\n\nretry: soon\n\n")
    assert parser.retry_seconds == 1.5


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 100],
        [b"data: " + b"x" * 100 + b"\n\n"],
        [b"data: a\n\ndata: " + b"x" * 100],
        [b"data: a\n\n", b"data: " + b"x" * 100 + b"\n\ndata: b\n\n"],
        [b"x"] * 101,
    ],
)
def test_the_cap_on_one_event(chunks: list[bytes]) -> None:
    parser = SseParser(max_event_bytes=100)
    with pytest.raises(ProtocolViolation):
        for chunk in chunks:
            parser.feed(chunk)


def test_the_cap_is_on_one_event_not_on_a_read() -> None:
    events = SseParser(max_event_bytes=20).feed(b"data: 0123456789\n\n" * 100)
    assert len(events) == 100


def seconds_for(stream: bytes, size: int) -> float:
    begun = time.process_time()
    parser = SseParser()
    for start in range(0, len(stream), size):
        parser.feed(stream[start : start + size])
    return time.process_time() - begun


@pytest.mark.parametrize(("size", "length"), [(1, 40_000), (1000, 2_500_000)])
def test_time_is_linear(size: int, length: int) -> None:
    # Four times the bytes: quadratic work would take sixteen times as long, noise less than eight.
    short = min(seconds_for(b"data: " + b"x" * length + b"\n\n", size) for _ in range(3))
    long = min(seconds_for(b"data: " + b"x" * (4 * length) + b"\n\n", size) for _ in range(3))
    assert long < 8 * short + 0.01
