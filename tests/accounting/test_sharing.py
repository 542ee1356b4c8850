from __future__ import annotations

import random

from gateway.accounting.sharing import Sharing


def test_one_alone_gets_all() -> None:
    sharing = Sharing()
    mark = sharing.begin(10.0)
    assert sharing.end(mark, 12.5) == 2.5


def test_two_at_once_get_half_each() -> None:
    sharing = Sharing()
    first = sharing.begin(0.0)
    second = sharing.begin(1.0)
    assert sharing.end(first, 3.0) == 2.0
    assert sharing.end(second, 4.0) == 2.0


def test_shares_add_up_to_the_time_in_which_any_ran() -> None:
    draw = random.Random(7)
    for _ in range(50):
        sharing = Sharing()
        spans = sorted((draw.uniform(0, 9), draw.uniform(0, 3)) for _ in range(20))
        moments = [(begin, n, True) for n, (begin, _) in enumerate(spans)]
        moments += [(begin + length, n, False) for n, (begin, length) in enumerate(spans)]
        marks: dict[int, float] = {}
        shared = busy = 0.0
        running, since = 0, 0.0
        for at, n, begins in sorted(moments):
            busy += (at - since) if running else 0.0
            since = at
            if begins:
                marks[n] = sharing.begin(at)
                running += 1
            else:
                shared += sharing.end(marks[n], at)
                running -= 1
        assert abs(shared - busy) < 1e-9
