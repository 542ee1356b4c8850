"""What a start does not import: each costs time and memory, and most starts never need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_TRACING = ("opentelemetry.sdk", "opentelemetry.exporter")
_GATEWAY = """
import gateway.serving, gateway.app, gateway.tracing
from gateway.pricebook.configured import price_book, tariff_of
from gateway.settings import load
settings = load(None, {})
for name, deployment in settings.deployments.items():
    tariff_of(name, deployment, price_book(settings), {})
"""
_BESIDE_THE_DATABASE = """
import gateway.ledger.writing.journal, gateway.ledger.writing.recovery, gateway.ledger.rows
import gateway.ledger.reports.views
import gateway.ledger.errors, gateway.ledger.layout, gateway.ledger.shipping.child
import gateway.ledger.reports.query, gateway.ledger.reports.reports
"""
_SHIPPER = "import gateway.ledger.shipping.shipper"


@pytest.mark.parametrize(
    ("start", "without"),
    [
        (
            _GATEWAY,
            ("sqlalchemy", "genai_prices", "jinja2", "gateway.http.dashboard.pages", *_TRACING),
        ),
        (_BESIDE_THE_DATABASE, ("sqlalchemy", "sqlite3", "prometheus_client")),
        (_SHIPPER, ("pydantic", "providers", "sqlalchemy.dialects.postgresql", *_TRACING)),
    ],
    ids=["gateway", "beside the database", "shipper"],
)
def test_a_start_does_without(start: str, without: tuple[str, ...]) -> None:
    code = f"import sys\n{start}\nprint(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = told.stdout.split()
    assert "gateway" in loaded
    assert not [m for m in loaded for name in without if m == name or m.startswith(f"{name}.")]
