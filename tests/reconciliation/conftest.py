"""What the tests of bills share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reconciliation.bills import CONFIG


@pytest.fixture
def modal(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "gateway.yml").write_text(CONFIG)
    return ("--provider", "modal", "--config", str(tmp_path / "gateway.yml"))
