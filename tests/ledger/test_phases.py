"""A boot that was waited out at the gateway is no part of the attempt's own time."""

from __future__ import annotations

import pytest

from gateway.ledger.phases import since_dispatch


@pytest.mark.parametrize(
    ("held", "verdict", "caused", "boot", "wait", "own"),
    [
        (None, "cold", False, 2.0, 2.5, (2.0, 2.5)),  # it waited at the provider
        (3.0, "cold", False, 2.9, 3.0, (None, None)),
        (3.0, "cold", False, 2.9, 3.25, (None, 0.25)),
        (3.0, "cold", True, 4.0, 4.5, (4.0, 4.5)),  # it woke it anew, after another had failed
        (0.5, "warm", False, None, 0.1, (None, 0.1)),  # it waited for a place
    ],
)
def test_boot_and_wait_from_the_dispatch_on(
    held: float | None,
    verdict: str,
    caused: bool,
    boot: float | None,
    wait: float,
    own: tuple[float | None, float | None],
) -> None:
    assert since_dispatch(held, verdict, caused, boot, wait) == own
