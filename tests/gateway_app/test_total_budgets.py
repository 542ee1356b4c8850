"""A budget without an end keeps what it has spent when old attempts are deleted."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from gateway.ledger.layout import journal_dir
from gateway.ledger.writing.journal import Journal
from providers.contract import Delta, Finished, Usage
from tests.acceptance.gateways import run_all
from tests.gateway_app.gateways import eventually, running_gateway
from tests.gateway_app.limited import DOLLAR, budget, deployment, tree
from tests.ledger.asking import at
from tests.ledger.databases import attempt_rows
from tests.ledger.samples import begun, priced

OLD = at("2025-03-10T12:00:00Z")
BUDGETS = [
    {"name": "everything", "limit_usd": "20", "per": "total"},
    {"name": "search", "limit_usd": "20", "per": "total", "tag": {"team": "search"}},
]


def test_prune_restart_and_the_total_still_stands(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    journal = Journal.open(journal_dir(data_dir))
    for number, team in enumerate(("search", "search", "ads")):
        old = begun(number, at_us=OLD, tags={"team": team})
        journal.end(priced(old, "4"))
    journal.close()
    given = tree({"dollar": deployment("dollar", DOLLAR)}, budgets=BUDGETS)
    config = tmp_path / "gateway.yml"
    config.write_text(yaml.safe_dump({**given, "server": {"data_dir": str(data_dir)}}))
    with running_gateway(given, data_dir) as first:
        assert budget(first, "everything")["spent_usd"] == "12"
        (pruned,) = run_all([["ledger", "prune", "--before", "2025-04", "--config", config]])
        assert pruned.status == 0, pruned.err
        eventually(lambda: attempt_rows(data_dir) == {}, 10)
        assert budget(first, "everything")["spent_usd"] == "12"
    (told,) = run_all([["budgets", "--config", config, "--json"]])
    spent = {line["name"]: line["spent_usd"] for line in json.loads(told.out)}
    assert spent == {"everything": "12", "search": "8"}
    with running_gateway(given, data_dir) as again:
        again.scripts.only("dollar", (Delta("x"), Finished(("stop",), Usage(1, 1))))
        assert budget(again, "everything")["spent_usd"] == "12"
        assert budget(again, "search")["spent_usd"] == "8"
        tokens = {"parameters": {"max_output_tokens": 9}}
        assert again.generate("dollar", tags={"team": "ads"}, **tokens).status_code == 402
