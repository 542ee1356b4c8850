"""The dashboards and alert rules in ``deploy/``, made from the definitions of metrics.

``python -m gateway.telemetry.deploy_files`` writes them anew; with ``--check`` it only says, by its
exit status, whether they are current.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import yaml

from gateway.telemetry.alerts import rules
from gateway.telemetry.dashboards import DASHBOARDS, grafana

DEPLOY = Path(__file__).parents[2] / "deploy"
_MADE = "# Made by `make docs` from gateway/telemetry/alerts.py: change it there.\n"


def files() -> dict[str, str]:
    """Path under ``deploy/`` -> text."""
    made = {
        "prometheus/gateway.rules.yml": _MADE + yaml.safe_dump(rules(), sort_keys=False, width=96)
    }
    for dashboard in DASHBOARDS:
        text = orjson.dumps(grafana(dashboard), option=orjson.OPT_INDENT_2).decode()
        made[f"grafana/{dashboard.uid}.json"] = text + "\n"
    return made


def main(arguments: Sequence[str]) -> int:
    """Write, or with ``--check`` compare: 1 when a file was not current."""
    made = files()
    if "--check" in arguments:
        there = {
            name: (DEPLOY / name).read_text(encoding="utf-8")
            for name in made
            if (DEPLOY / name).exists()
        }
        return 0 if there == made else 1
    for name, text in made.items():
        path = DEPLOY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
