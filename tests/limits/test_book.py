from __future__ import annotations

import random

from gateway.limits.book import Balance, Claim, MemoryBook


class FakeTime:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def book() -> tuple[MemoryBook, FakeTime]:
    clock = FakeTime()
    made = MemoryBook(clock)
    made.open("a", 0, 0)
    made.open("b", 0, 0)
    return made, clock


A, B = Claim("a", 10), Claim("b", 5)


async def test_all_accounts_or_none() -> None:
    made, _ = book()
    assert await made.reserve("1", [A, B], 4, 60) is None
    assert await made.reserve("2", [A, B], 4, 60) == "b"
    assert await made.reserve("3", [A], 6, 60) is None
    assert await made.reserve("4", [A, B], 1, 60) == "a"
    assert await made.balance("a") == Balance(0, 10, 0)
    assert await made.balance("b") == Balance(0, 4, 0)


async def test_what_was_spent_is_booked_and_the_rest_is_free_again() -> None:
    made, _ = book()
    await made.reserve("1", [A, B], 5, 60)
    made.settle("1", 2, known=True)
    assert await made.balance("a") == await made.balance("b") == Balance(2, 0, 0)
    await made.reserve("2", [A], 8, 60)
    made.settle("2", 11, known=False)  # more than it had: it is booked all the same
    assert await made.balance("a") == Balance(13, 0, 1)
    assert await made.reserve("3", [A], 0, 60) == "a"  # full, even for what is free


async def test_a_lease_is_raised_or_stays() -> None:
    made, _ = book()
    await made.reserve("1", [A, B], 3, 60)
    assert await made.renew("1", 5) is None
    assert await made.renew("1", 6) == "b"
    assert await made.balance("a") == Balance(0, 5, 0)


async def test_a_lease_that_nobody_ends_counts_as_spent() -> None:
    made, clock = book()
    await made.reserve("1", [A], 3, 60)
    await made.reserve("2", [A], 3, 90)
    clock.seconds = 60
    assert made.expire() == ["1"] and made.expire() == []
    assert await made.balance("a") == Balance(3, 3, 1)
    assert await made.renew("1", 4) == "a"
    made.settle("1", 1, known=True)  # it comes back after all
    assert await made.balance("a") == Balance(1, 3, 0)


async def test_an_account_is_forgotten_once_nothing_runs_in_it() -> None:
    made, _ = book()
    await made.reserve("1", [A], 3, 60)
    made.close("a")
    assert made.is_open("a")
    made.settle("1", 1, known=True)
    made.close("a")
    assert not made.is_open("a") and await made.balance("a") is None


async def test_what_is_spent_and_held_never_exceeds_a_limit() -> None:
    """Any order of calls, as long as nobody spends more than it holds."""
    rng = random.Random(7)
    made, clock = book()
    held: dict[str, int] = {}
    for number in range(3000):
        clock.seconds += rng.random()
        what = rng.random()
        if what < 0.5:
            wanted = rng.randint(0, 4)
            claims = rng.choice([[A], [B], [A, B]])
            if await made.reserve(str(number), claims, wanted, 5) is None:
                held[str(number)] = wanted
        elif held:
            name = rng.choice(list(held))
            if what < 0.7:
                more = held[name] + rng.randint(0, 2)
                if await made.renew(name, more) is None:
                    held[name] = more
            else:
                made.settle(name, rng.randint(0, held.pop(name)) if number < 400 else 0, known=True)
        made.expire()
        for claim in (A, B):
            balance = await made.balance(claim.account)
            assert balance is not None
            assert balance.reserved_pico_usd >= 0
            assert balance.spent_pico_usd + balance.reserved_pico_usd <= claim.limit_pico_usd
