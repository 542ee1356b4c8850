"""One boot that several waited for is paid for once, where there is evidence that it was one."""

from __future__ import annotations

import random

import pytest

from gateway.accounting.boot_shares import BootShares


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shared", [False, True])
def test_together_they_carry_the_longest_wait(seed: int, shared: bool) -> None:
    chance = random.Random(seed)
    shares = BootShares(shared=shared)
    longest = carried = 0.0
    for number in range(10):  # boots one after the other, each of another instance
        ends = 1000.0 * number + 100
        waits = [chance.randrange(1, 100) * 1.0 for _ in range(chance.randrange(1, 9))]
        instance_id = None if shared else f"i{number}"
        carried += sum(shares.take(instance_id, waited, ends) for waited in waits)
        longest += max(waits)
    assert carried == longest


def test_without_evidence_two_boots_are_two() -> None:
    shares = BootShares()
    assert [shares.take(None, 5.0, 10.0) for _ in range(2)] == [5.0, 5.0]
    assert [shares.take(name, 5.0, 10.0) for name in ("a", "b")] == [5.0, 5.0]


def test_an_instance_that_boots_again_later() -> None:
    shares = BootShares()
    assert shares.take("a", 5.0, 10.0) == 5.0
    assert shares.take("a", 7.0, 11.0) == 2.0
    assert shares.take("a", 5.0, 30.0) == 5.0  # its name is used again


def test_only_so_many_boots_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.accounting.boot_shares._MOST_BOOTS", 2)
    shares = BootShares()
    for name in ("a", "b", "c"):
        shares.take(name, 5.0, 10.0)
    assert [shares.take(name, 5.0, 10.0) for name in ("b", "c", "a")] == [0.0, 0.0, 5.0]
