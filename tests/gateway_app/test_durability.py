"""With ``journal.fsync: group`` nothing is asked of a provider, or told, before it is safe."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from providers.contract import Usage
from tests.gateway_app.conftest import configuration
from tests.gateway_app.gateways import Gateway, running_gateway


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    tree = {**configuration("http://127.0.0.1:9"), "journal": {"fsync": "group"}}
    with running_gateway(tree, tmp_path_factory.mktemp("careful")) as running:
        yield running


def test_begin_and_end_are_synced(careful: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = os.fdatasync

    def watched(fd: int) -> None:
        synced.append(fd)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", watched)
    careful.scripts.says("plain", usage=Usage(1, 2))
    assert careful.answer("plain")["status"] == "succeeded"
    assert len(synced) >= 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_volume_that_fails_to_sync(
    careful: Gateway, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    careful.scripts.says("plain", usage=Usage(1, 2))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        if stream:
            error = careful.stream("plain")[-1].data["error"]
        else:
            status, error = careful.error("plain")
            assert status == 503
    assert error["code"] == "ledger_unavailable" and error["retry_after_seconds"] == 5
    assert not careful.scripts.calls("plain")  # the provider was not asked
    (row,) = careful.rows(error["operation_id"])
    assert (row["status"], row["error_type"]) == ("failed", "LedgerUnavailable")
    assert row["cost_status"] == "measured" and row["cost_pico_usd"] == 0
    assert careful.answer("plain")["status"] == "succeeded"  # and it goes on when it can
