"""Off, booting, warm, unknown: which facts lead where, and what is evidence of what."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.warmth.priors import prior_of
from gateway.warmth.standing import WORDS, stands
from gateway.warmth.warmth import Warmth
from tests.warmth.worlds import GUESS, end

SURE = prior_of(("x",), idle_window_seconds=300.0)
TOKENS = prior_of(("x",), bills=frozenset({"execute"}))


def word(warmth: Warmth, at: float) -> str:
    return stands(warmth, warmth.expectation(at))


def used(prior: Any = SURE) -> Warmth:
    """Booted at 0 for 20 s, used until 25."""
    warmth = Warmth(prior)
    warmth.began("first", 0.0)
    warmth.booting(0.5)
    warmth.ready(20.5)
    end(warmth, "first", 25.0, "cold", boot_seconds=20.0)
    return warmth


def test_a_life() -> None:
    warmth = Warmth(SURE)
    assert warmth.outlook(0.0).state == "off" and warmth.outlook(0.0).p_warm < 0.05
    assert not warmth.founded  # others may have used it
    warmth.began("first", 0.0)
    warmth.booting(0.5)
    warmth.booting(5.0)  # news of the same boot
    booting = warmth.outlook(10.5)
    assert (booting.state, booting.booting_left_seconds) == ("booting", 10.0)
    assert booting.p_warm < 0.05 and booting.wait_seconds == 10.0
    warmth.ready(20.5)
    assert warmth.outlook(21.0).state == "warm" and warmth.warm_until_at(21.0) is None
    end(warmth, "first", 25.0, "cold", boot_seconds=20.0)
    warm = warmth.outlook(30.0)
    assert warm.state == "warm" and warm.p_warm > 0.95
    assert warmth.warm_until_at(30.0) == pytest.approx(25 + 300, rel=0.05)
    off = warmth.outlook(25.0 + 600)
    assert off.state == "off" and off.p_warm < 0.05
    assert off.wait_seconds == pytest.approx(20, rel=0.1)
    assert warmth.warm_until_at(25.0 + 600) is None


def test_without_any_evidence_nothing_is_claimed() -> None:
    warmth = Warmth(GUESS)
    warmth.began("a", 0.0)
    end(warmth, "a", 1.0, "unknown", caused_boot=None)
    assert warmth.outlook(2.0).state == "unknown"
    warmth.began("b", 10.0)
    end(warmth, "b", 11.0, "warm")
    assert warmth.outlook(12.0).state == "warm"


def test_who_joins_a_boot_is_no_evidence_of_keep_alive() -> None:
    warmth = used()
    warmth.began("a", 2000.0)
    warmth.booting(2000.0)
    warmth.began("b", 2005.0)
    warmth.ready(2020.0)
    end(warmth, "b", 2021.0, "cold", caused_boot=False, boot_seconds=15.0)
    end(warmth, "a", 2022.0, "cold", boot_seconds=20.0)
    assert warmth.survival.observed == 1 and warmth.boots.count == 2
    assert (warmth.counts.cold, warmth.counts.boots) == (3, 2)


def test_another_machine_beside_work_is_scale_out() -> None:
    warmth = used()
    warmth.began("a", 30.0)
    warmth.ready(30.0)
    warmth.began("b", 31.0)
    warmth.booting(31.0)
    assert warmth.outlook(32.0).state == "warm"  # one is up all the same
    before = warmth.outlook(32.0).p_warm
    end(warmth, "b", 60.0, "cold", boot_seconds=20.0)
    end(warmth, "a", 61.0, "warm")
    assert warmth.counts.scale_outs == 1 and warmth.survival.observed == 1
    warmth.began("c", 62.0)
    warmth.ready(62.0)
    assert warmth.outlook(63.0).p_warm < before


def test_a_refusal_changes_nothing() -> None:
    warmth = used()
    before = warmth.outlook(100.0)
    warmth.began("refused", 90.0)
    end(warmth, "refused", 91.0, "unknown", caused_boot=None, worked=False)
    assert warmth.outlook(100.0) == before


def test_a_boot_that_nobody_waits_for_goes_on_and_is_forgotten_in_the_end() -> None:
    warmth = Warmth(SURE)
    warmth.began("a", 0.0)
    warmth.booting(0.0)
    end(warmth, "a", 5.0, "cold")  # the caller left
    assert warmth.outlook(10.0).state == "booting"
    assert warmth.boots.count == 0  # its length is not known
    assert warmth.outlook(1000.0).state == "unknown"


def test_a_new_revision_says_nothing_of_keep_alive() -> None:
    warmth = used()
    warmth.began("a", 30.0)
    end(warmth, "a", 31.0, "warm", revision="r1")
    warmth.began("b", 40.0)
    end(warmth, "b", 61.0, "cold", revision="r2", boot_seconds=20.0)
    assert (warmth.counts.new_revisions, warmth.survival.observed) == (1, 1)
    assert warmth.survival.chance(9.0) > 0.95
    warmth.began("c", 70.0)
    end(warmth, "c", 91.0, "cold", revision="r2", boot_seconds=20.0)
    assert warmth.survival.observed == 2


def test_the_same_machine_again_was_up() -> None:
    warmth = Warmth(GUESS)
    for name, at in (("a", 0.0), ("b", 100.0)):
        warmth.began(name, at)
        end(warmth, name, at + 1, "unknown", caused_boot=None, instance_id="i-1")
    assert (warmth.counts.warm, warmth.counts.unknown, warmth.survival.observed) == (1, 1, 1)


def test_probes_tell_without_waking() -> None:
    warmth = used()
    warmth.probed("ready", 325.0)
    warmth.probed("ready", 425.0)
    assert warmth.outlook(426.0).p_warm > 0.9  # the prior alone gives it little
    assert warmth.survival.observed == 0  # until it is known how that ended
    warmth.probed("down", 500.0)
    warmth.probed("down", 600.0)
    assert warmth.outlook(601.0).state == "off"
    assert warmth.survival.observed == 2  # up at 400 s, gone at 475 s; asked often, counted once
    warmth.began("a", 700.0)
    end(warmth, "a", 730.0, "cold", boot_seconds=20.0)
    assert warmth.survival.observed == 2
    warmth.probed("booting", 2000.0)
    assert warmth.outlook(2001.0).state == "booting"
    warmth.probed("ready", 2020.0)
    assert warmth.outlook(2021.0).p_warm > 0.5
    warmth.probed("unknown", 2022.0)


def test_what_is_known_of_such_deployments_is_believed_and_a_guess_is_not() -> None:
    sells_tokens = Warmth(TOKENS)
    assert sells_tokens.expectation(0.0).state == "warm" and not sells_tokens.founded
    assert word(sells_tokens, 0.0) == "likely warm" and sells_tokens.last_seen(0.0) is None
    sells_tokens.began("a", 1.0)
    assert sells_tokens.founded and sells_tokens.assumed  # that it works there proves nothing
    end(sells_tokens, "a", 2.0, "warm")
    assert not sells_tokens.assumed and word(sells_tokens, 2.0) == "warm"
    assert word(Warmth(GUESS), 0.0) == "unknown"
    warmth = used()
    told = [word(warmth, 25.0 + idle) for idle in (1.0, 250.0, 350.0, 6000.0)]
    assert told == ["warm", "likely warm", "likely off", "off"]
    assert warmth.last_seen(6025.0) == ("warm", "attempt", 25.0)
    assert word(Warmth(SURE), 0.0) == "likely off"
    assert {*told, "booting", "unknown"} == set(WORDS)


@pytest.mark.parametrize("prior", [SURE, TOKENS, GUESS])
def test_what_a_probe_says_is_proved_whatever_was_known_before(prior: Any) -> None:
    warmth = Warmth(prior)
    warmth.probed("down", 1.0)
    assert word(warmth, 2.0) == "off" and warmth.last_seen(2.0) == ("off", "probe", 1.0)
    warmth.probed("booting", 3.0)
    assert word(warmth, 4.0) == "booting" and warmth.last_seen(4.0) == ("booting", "probe", 3.0)
    warmth.probed("ready", 9.0)
    assert word(warmth, 10.0) == "warm" and warmth.last_seen(10.0) == ("warm", "probe", 9.0)
    warmth.probed("unknown", 11.0)
    assert warmth.last_seen(11.0) == ("warm", "probe", 9.0)
    # Of one whose keep-alive is a guess, time alone proves nothing; tokens are sold warm.
    words = {SURE: "off", TOKENS: "likely warm", GUESS: "likely off"}
    assert word(warmth, 100_000.0) == words[prior]


def test_what_may_have_changed_it_unseen_leaves_a_belief() -> None:
    warmth = used()
    warmth.began("a", 2000.0)
    end(warmth, "a", 2001.0, "unknown", caused_boot=None)  # nobody saw it work
    assert warmth.outlook(2002.0).state == "warm" and word(warmth, 2002.0) == "likely warm"
    assert warmth.last_seen(2002.0) == ("warm", "attempt", 25.0)
    warmth.began("b", 2010.0)
    warmth.ready(2010.5)
    assert word(warmth, 2011.0) == "warm" and warmth.outlook(2011.0).p_warm < 0.95  # of another
    end(warmth, "b", 2012.0, "unknown", caused_boot=None)
    assert word(warmth, 2013.0) == "warm"
    warmth.keeps(5000.0, boots=True)
    assert (warmth.outlook(5001.0).state, word(warmth, 5001.0)) == ("booting", "booting")
    assert word(warmth, 5100.0) == "likely warm"  # it was told to hold it, and was seen before
    warmth.probed("ready", 5101.0)
    assert word(warmth, 5102.0) == "warm"


def test_a_process_of_our_own_is_not_guessed_at() -> None:
    warmth = Warmth(GUESS)
    warmth.supervised("down", 0.0)
    off = warmth.expectation(1.0)
    assert (off.state, off.evidence) == ("off", "supervised") and warmth.founded
    warmth.supervised("booting", 10.0)
    assert warmth.expectation(10_000.0).state == "booting"  # however long: it would say so
    warmth.supervised("down", 11.0)  # it failed
    assert warmth.expectation(12.0).state == "off"
    warmth.supervised("booting", 20.0)
    warmth.supervised("ready", 25.0)
    warm = warmth.expectation(25.0 + 90_000)
    assert (warm.state, warm.evidence, warm.p_warm) == ("warm", "supervised", 0.99)
    assert warmth.idle_since == 25.0 and warmth.last_used_at is None  # nobody has used it
    warmth.began("a", 100.0)
    warmth.ready(100.0)
    beside = warmth.expectation(
        101.0
    )  # one process: there is no other machine that may have to boot
    assert (beside.state, beside.evidence, beside.p_warm) == ("warm", "supervised", 0.99)
    end(warmth, "a", 110.0, "warm")
    assert warmth.last_used_at == 110.0 and warmth.quality.count == 1
    assert warmth.quality.error == pytest.approx(0.01)
    warmth.supervised("down", 410.0)
    assert warmth.expectation(411.0).state == "off"
    assert warmth.survival.observed == 2  # it was up after 75 s, and went after 300
    warmth.began("b", 500.0)
    warmth.supervised("booting", 500.0)
    warmth.supervised("ready", 520.0)
    warmth.ready(520.0)
    warmth.supervised("down", 525.0)  # in the middle of the work
    end(warmth, "b", 525.0, "cold", boot_seconds=20.0)
    assert warmth.expectation(526.0).state == "off"


def test_one_that_is_held_is_up_however_long_it_idles() -> None:
    warmth = used()
    warmth.keeps(25.0, boots=False)
    held = warmth.outlook(25.0 + 6000)
    assert (held.state, held.evidence) == ("warm", "kept") and held.p_warm == 0.99
    assert warmth.expectation(25.0 + 6000) == warmth.expectation(25.0 + 6000) == held
    assert warmth.warm_until_at(30.0) is None
    warmth.lets_go()
    off = warmth.outlook(25.0 + 6000)
    assert (off.state, off.evidence) == ("off", None)


def test_one_that_boots_ahead_is_up_when_a_boot_is_over() -> None:
    warmth = used()
    warmth.keeps(1000.0, boots=True)
    boot_seconds = warmth.boots.expected_seconds
    for read in (warmth.outlook, warmth.expectation):
        booting = read(1000.0 + 0.25 * boot_seconds)
        assert (booting.state, booting.evidence) == ("booting", "kept")
        assert booting.booting_left_seconds == pytest.approx(0.75 * boot_seconds)
        assert read(1000.0 + boot_seconds).state == "warm"
    warmth.keeps(2000.0, boots=True)  # it is held already
    assert warmth.outlook(2000.0).state == "warm"


def test_what_comes_while_it_is_held_teaches_nothing_of_the_providers_window() -> None:
    warmth, free = used(), used()
    chance = free.survival.chance(600.0)
    for number in range(20):
        at = 1000.0 * (number + 1)
        for one in (warmth, free):
            if one is warmth:
                one.keeps(at - 900.0, boots=False)
            one.began(f"{number}", at)
            end(one, f"{number}", at + 1.0, "warm" if number % 10 else "cold")
    assert warmth.survival.chance(600.0) == chance < free.survival.chance(600.0)
    held = warmth.outlook(30_000.0)
    assert held.p_warm == pytest.approx((99 + 18) / (100 + 20))  # two of twenty were not up
    assert warmth.calibration().count == free.calibration().count


def test_a_probe_that_finds_it_down_is_believed_before_its_policy() -> None:
    warmth = used()
    warmth.keeps(30.0, boots=False)
    warmth.probed("down", 40.0)
    assert (warmth.outlook(41.0).state, warmth.outlook(41.0).evidence) == ("off", None)


def test_a_process_of_our_own_that_is_held() -> None:
    warmth = Warmth(SURE)
    warmth.supervised("down", 0.0)
    warmth.supervised("booting", 10.0)
    warmth.supervised("ready", 15.0)
    warmth.keeps(15.0, boots=True)  # its boot is over already
    held = warmth.expectation(16.0)
    assert (held.state, held.evidence) == ("warm", "kept")
    warmth.lets_go()
    assert warmth.expectation(5000.0).evidence == "supervised"
    warmth.supervised("down", 6000.0)
    assert warmth.expectation(6001.0).state == "off"
    assert warmth.survival.observed == 0  # that it was held so long is not the engine's own way
