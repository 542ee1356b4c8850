from __future__ import annotations

import pytest

from gateway.http.admission import duration
from gateway.limits.rates import MemoryBuckets, Rate, draws_for

RATES = [Rate("a", "requests", 60), Rate("a", "tokens", 600), Rate("", "tokens", 1200)]


class FakeTime:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_bucket_fills_evenly_and_holds_a_minute() -> None:
    clock = FakeTime()
    buckets = MemoryBuckets(clock)
    draws = draws_for([Rate("a", "requests", 60)], 0)
    for left in range(59, -1, -1):
        taken = await buckets.take(draws)
        assert (taken.wait_seconds, taken.levels[0].left) == (0, left)
    assert (await buckets.take(draws)).wait_seconds == 1
    clock.seconds = 0.75
    assert (await buckets.take(draws)).wait_seconds == 0.25
    clock.seconds = 1
    assert (await buckets.take(draws)).wait_seconds == 0
    clock.seconds = 1000
    level = (await buckets.take(draws)).levels[0]
    assert (level.left, level.full_in_seconds) == (59, 1)


async def test_all_buckets_or_none() -> None:
    buckets = MemoryBuckets(FakeTime())
    assert (await buckets.take(draws_for(RATES, 500))).wait_seconds == 0
    refused = await buckets.take(draws_for(RATES, 500))
    assert refused.wait_seconds == 40  # 400 tokens at 10 a second
    assert [level.left for level in refused.levels] == [59, 100, 700]


async def test_the_difference_to_what_was_used_is_settled() -> None:
    buckets = MemoryBuckets(FakeTime())
    draws = draws_for(RATES[1:], 500)
    await buckets.take(draws)
    for draw in draws:
        buckets.put(draw, 400)
    assert [level.left for level in (await buckets.take(draws)).levels] == [0, 600]
    for draw in draws:
        buckets.put(draw, -100)
    assert (await buckets.take(draws)).wait_seconds == 60
    for draw in draws:
        buckets.put(draw, 10**9)  # never more than a minute's worth
    assert [level.left for level in (await buckets.take(draws)).levels] == [100, 700]


async def test_a_request_larger_than_a_minute_takes_a_full_bucket() -> None:
    buckets = MemoryBuckets(FakeTime())
    draws = draws_for(RATES[1:2], 5000)
    assert (await buckets.take(draws)).wait_seconds == 0
    assert (await buckets.take(draws)).wait_seconds == 60


@pytest.mark.parametrize(
    ("seconds", "spelt"),
    [(0, "0ms"), (0.0171, "18ms"), (1, "1s"), (59.2, "1m0s"), (90, "1m30s"), (3600, "60m0s")],
)
def test_durations(seconds: float, spelt: str) -> None:
    assert duration(seconds) == spelt
