"""The table of what was asked, printed once at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.live.checks import Line

_LINES = pytest.StashKey[list[Line]]()


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Callable[[Line], None]:
    """Adds a row."""
    return request.config.stash.setdefault(_LINES, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(_LINES, [])
    if not lines:
        return
    terminalreporter.section("live services")
    for line in lines:
        terminalreporter.write_line(
            f"{line.service:<12} {line.call:<10} {line.seconds:>7.2f} s  {line.said}"
        )
        for place in line.unlisted:
            terminalreporter.write_line(f"{'':<24} not emulated: {place}")
