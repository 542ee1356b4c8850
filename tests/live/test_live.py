"""The real services, where the environment has keys: ``make test ARGS="-m live"``.

Each costs little and is bounded (``tests/live/services.py`` says how). Without its key a test is
skipped and says which variable it needs; without ``-m live`` it is skipped even where the key is
there, because it spends money. Only the names of the service itself can be dialled.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import checks
from tests.live.checks import Line, Live
from tests.live.services import SERVICES, Service
from tests.network import asked_for_live

Table = Callable[[Line], None]
CALLS: tuple[Callable[[Live], Line], ...] = (checks.whole, checks.streamed, checks.cancelled)

each_service = pytest.mark.parametrize(
    "service",
    [
        pytest.param(service, marks=pytest.mark.live(service), id=service.name)
        for service in SERVICES
    ],
)


@pytest.fixture(autouse=True)
def _only_where_it_is_wanted(request: pytest.FixtureRequest, service: Service) -> None:
    if (reason := service.missing(os.environ)) is not None:
        pytest.skip(reason)
    if not asked_for_live(request.config):
        pytest.skip("it spends money: only with -m live")


@each_service
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_call(service: Service, call: Callable[[Live], Line], tmp_path: Path, table: Table) -> None:
    if call is checks.cancelled and service.cannot_cancel is not None:
        pytest.skip(service.cannot_cancel)
    setting = service.setting(os.environ)
    with checks.in_front_of(service, setting, tmp_path) as live:
        table(call(live))


@each_service
def test_bad_key(service: Service, tmp_path: Path, table: Table) -> None:
    setting = checks.with_wrong_key(service.setting(os.environ))
    if setting is None:
        pytest.skip(f"{service.name} asks for no key here")
    with checks.in_front_of(service, setting, tmp_path) as live:
        table(checks.refused(live))
