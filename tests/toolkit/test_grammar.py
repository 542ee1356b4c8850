from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Finished,
    Output,
    ProtocolViolation,
    Queued,
    Started,
)
from providers.toolkit.grammar import GrammarChecker

ACCEPTED, QUEUED, BOOTING, STARTED = Accepted("j"), Queued(), Booting("phase_reported"), Started()
DELTA, OUTPUT, FINISHED = Delta("a"), Output("text", value="a"), Finished()


def check(*events: Any) -> None:
    checker = GrammarChecker()
    for event in events:
        checker.check(event)
    checker.end()


@pytest.mark.parametrize(
    "events",
    [
        (FINISHED,),
        (DELTA, FINISHED),
        (DELTA, OUTPUT, DELTA, FINISHED),
        (ACCEPTED, QUEUED, BOOTING, STARTED, DELTA, DELTA, FINISHED),
        (QUEUED, STARTED, FINISHED),
        (BOOTING, DELTA, FINISHED),
        (Accepted("j", datetime.now(UTC)), FINISHED),
        (Output("image", url="https://a/b"), Output("audio", data=b""), FINISHED),
    ],
)
def test_good(events: tuple[Any, ...]) -> None:
    check(*events)


@pytest.mark.parametrize(
    "events",
    [
        (),
        (DELTA,),
        (ACCEPTED, ACCEPTED, FINISHED),
        (STARTED, BOOTING, FINISHED),
        (DELTA, STARTED, FINISHED),
        (QUEUED, ACCEPTED, FINISHED),
        (FINISHED, FINISHED),
        (FINISHED, DELTA),
        (FINISHED, QUEUED),
        ("text", FINISHED),
        (None, FINISHED),
        (Accepted(""), FINISHED),
        (Queued(datetime(2026, 1, 1)), FINISHED),  # noqa: DTZ001
        (Output("text"), FINISHED),
        (Output("image", url="https://a/b", data=b"c"), FINISHED),
    ],
)
def test_bad(events: tuple[Any, ...]) -> None:
    with pytest.raises(ProtocolViolation):
        check(*events)


def test_finished_is_known() -> None:
    checker = GrammarChecker()
    assert not checker.finished
    checker.check(FINISHED)
    assert checker.finished
