"""When a second deployment is asked or booted, and which: as a function of what is expected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.accounting.usual import Usual
from gateway.execution.hedging import (
    QUIET_SHARE,
    UNKNOWN_QUIET_SECONDS,
    Rival,
    dual_boot,
    hedge_after_seconds,
    hedge_partner,
)
from gateway.routing import CORDONED, Candidate, ModelRules, Strategy
from gateway.warmth.outlook import Outlook

WARM = Outlook("warm", 0.98, 30.0)
BOOTING = Outlook("booting", 0.0, 30.0, booting_left_seconds=10.0)
COLD = Outlook("off", 0.0, 30.0)
MILLI = 10**9  # pico-USD


def candidate(name: str, outlook: Outlook = COLD, milli_usd: int | None = 1) -> Candidate:
    pico_usd = None if milli_usd is None else milli_usd * MILLI
    return Candidate(name, "p", outlook, pico_usd, can_boot=True, bills_boot=False)


def changed(given: Candidate, **changes: object) -> Candidate:
    return replace(given, **changes)  # type: ignore[arg-type]


def test_the_delay_is_the_silence_of_one_warm_answer_in_twenty() -> None:
    usual = Usual()
    for hundredths in range(1, 101):
        usual.observe(output_tokens=1, execute_seconds=1.0, first_output_seconds=hundredths / 100)
        usual.observe(
            output_tokens=1, execute_seconds=1.0, first_output_seconds=9.0, in_pieces=False
        )
    quiet = usual.quiet_seconds(QUIET_SHARE)
    assert quiet is not None and 0.95 <= quiet <= 0.98  # of the latest 64: 0.37 to 1.00
    assert usual.quiet_seconds(QUIET_SHARE, in_pieces=False) == 9.0
    assert hedge_after_seconds(WARM, quiet) == quiet
    assert hedge_after_seconds(WARM, 0.0001) > 0.01  # no hedge for a turn of the event loop
    assert Usual().quiet_seconds(QUIET_SHARE) is None
    assert hedge_after_seconds(WARM, None) == UNKNOWN_QUIET_SECONDS


@pytest.mark.parametrize("outlook", [COLD, BOOTING])
def test_one_that_is_known_to_be_cold_is_not_waited_for(outlook: Outlook) -> None:
    assert hedge_after_seconds(outlook, 3.0) == 0.0


def test_the_partner_is_the_next_that_is_fit() -> None:
    first = candidate("first", WARM)
    rivals = [
        Rival(candidate("stubborn", WARM), cancels=False),
        Rival(changed(candidate("away", WARM), closed=CORDONED)),
        Rival(candidate("cold", COLD)),
        Rival(candidate("full", WARM), has_place=False),
        Rival(candidate("fit", WARM)),
        Rival(candidate("later", WARM)),
    ]
    chosen, reasons = hedge_partner(first, rivals, first_waits=False)
    assert chosen == "fit" and list(reasons) == ["stubborn", "away", "cold", "full"]
    # once the first has said that it boots, a cold one may be the quicker
    assert hedge_partner(first, rivals[2:], first_waits=True)[0] == "cold"


@pytest.mark.parametrize(("most", "chosen"), [(1, None), (2, "second"), (None, "second")])
def test_both_fit_into_the_ceiling(most: int | None, chosen: str | None) -> None:
    first, second = candidate("first"), Rival(candidate("second"))
    ceiling = None if most is None else most * MILLI
    found = hedge_partner(first, [second], first_waits=False, max_cost_pico_usd=ceiling)
    assert found[0] == chosen and bool(found[1]) == (chosen is None)
    unpriced = Rival(candidate("second", COLD, None))
    found = hedge_partner(first, [unpriced], first_waits=False, max_cost_pico_usd=ceiling)
    assert (found[0] is None) == (most is not None)


AGREED = ModelRules(hedge="when_cold")
A, B, C = (candidate(name) for name in "abc")
DEAR = candidate("dear", COLD, 31)  # 30 more than the first: as much as 30 s of waiting are worth
BILLED = changed(candidate("billed"), bills_boot=True)
UNABLE = changed(candidate("unable"), can_boot=False)
FAILING = changed(candidate("failing"), closed="it fails")


@pytest.mark.parametrize(
    ("ordered", "strategy", "rules", "pair"),
    [
        ((A, B, C), "balanced", ModelRules(), ("a", "b")),
        ((A, B), "fastest", ModelRules(), ("a", "b")),
        # an order that somebody asked for holds, unless the model says more
        *(((A, B), s, ModelRules(), None) for s in ("priority", "cheapest", "weighted")),
        *(((A, B), s, AGREED, ("a", "b")) for s in ("priority", "cheapest", "weighted")),
        ((A, B), "balanced", ModelRules(hedge="never"), None),
        # not all are cold
        ((candidate("w", WARM), A, B), "balanced", AGREED, None),
        ((candidate("w", BOOTING), A, B), "balanced", AGREED, None),
        # a billed boot needs the model's word
        ((A, BILLED), "balanced", ModelRules(), None),
        ((BILLED, A), "balanced", ModelRules(), None),
        ((A, BILLED, C), "balanced", ModelRules(), ("a", "c")),
        ((A, BILLED), "balanced", AGREED, ("a", "billed")),
        # power
        ((A, UNABLE, C), "balanced", AGREED, ("a", "c")),
        ((UNABLE, B, C), "balanced", AGREED, None),
        ((A, FAILING), "balanced", AGREED, None),
        ((A,), "balanced", AGREED, None),
        # the answer of the second must not cost more than the wait is worth
        ((A, DEAR), "balanced", ModelRules(), ("a", "dear")),
        ((A, DEAR), "balanced", ModelRules(wait_value_usd_per_second=0.0009), None),
        ((A, candidate("u", COLD, None)), "balanced", ModelRules(), None),
        ((A, candidate("u", COLD, None)), "balanced", AGREED, ("a", "u")),
    ],
)
def test_which_two_boot(
    ordered: tuple[Candidate, ...],
    strategy: Strategy,
    rules: ModelRules,
    pair: tuple[str, str] | None,
) -> None:
    assert dual_boot(ordered, strategy, rules) == pair
