"""``gateway check --hardware``: what a function was deployed to run on, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from tests.emulators.modal import TOKEN, Modal, serve_modal


@pytest.fixture
def modal() -> Iterator[Modal]:
    with serve_modal() as service:
        yield service


def test_what_it_runs_on_is_priced_by_check(modal: Modal, tmp_path: Path) -> None:
    modal.hidden.add("gone")
    modal.resources.gpus, modal.resources.memory_mib = 2, 24 * 1024
    config = tmp_path / "gateway.yml"
    config.write_text(
        f"""
providers:
  modal: {{token_id: {TOKEN[0]}, token_secret: {TOKEN[1]}, server_url: "{modal.url}"}}
deployments:
  told: {{provider: modal, model: m, app: emulated, function: warm, price: modal-h100}}
  gone: {{provider: modal, model: m, app: emulated, function: gone}}
  ours: {{provider: local, model: smollm2-135m-instruct}}
models:
  told: {{deployments: [told]}}
"""
    )
    arguments = ["check", "--config", str(config), "--data-dir", str(tmp_path), "--hardware"]
    ran = CliRunner().invoke(app, arguments)
    rows = [line.split("  ") for line in ran.output.splitlines()]
    rows = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    (told,) = [row for row in rows if row[0] == "told" and len(row) == 5 and "x" in row[1]]
    each = Decimal("0.001097") * 2 + Decimal("0.0000131") * 4 + Decimal("0.00000222") * 24
    assert told[1:] == [
        "2 x H100, 4 cores, 24576 MiB",
        "2 modal-h100 + 4.0 modal-cpu-core + 24 modal-memory-gib",
        str(each.normalize()),
        "0.001097 (modal-h100@2026-07-01)",
    ]
    assert ran.exit_code == 1 and "unknown: " in ran.output and modal.count("FunctionMap") == 0
