"""Dashboards and alert rules: current, about metrics that exist, and sound to Prometheus itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from gateway.telemetry import deploy_files, queries
from gateway.telemetry.alerts import ALERTS
from gateway.telemetry.definitions import BY_NAME, DEFINITIONS
from tests.telemetry.promtool import needs_promtool, promtool

DEPLOY = deploy_files.DEPLOY
SERIES = {name: known for known in DEFINITIONS for name in known.samples}


def dashboards() -> dict[str, Any]:
    return {path.name: orjson.loads(path.read_bytes()) for path in DEPLOY.glob("grafana/*.json")}


def expressions() -> dict[str, str]:
    """Each expression of a dashboard or a rule, with Grafana's words filled in."""
    found = {}
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                filled = target["expr"].replace("$__rate_interval", "5m")
                filled = filled.replace("$provider", ".*").replace("$deployment", ".*")
                found[f"{name}: {panel['title']} {target['refId']}"] = filled
    for alert in ALERTS:
        found[alert.name] = alert.expr
    return found


def test_they_are_current() -> None:
    assert deploy_files.main(["--check"]) == 0, "run: make docs"


def test_what_is_not_current_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_files, "DEPLOY", tmp_path)
    assert deploy_files.main(["--check"]) == 1
    assert deploy_files.main([]) == 0 and deploy_files.main(["--check"]) == 0
    (tmp_path / "prometheus/gateway.rules.yml").write_text("groups: []\n")
    assert deploy_files.main(["--check"]) == 1


def test_they_hold_only_metrics_and_labels_that_exist() -> None:
    for where, expr in expressions().items():
        used = set(re.findall(r"\b(?:gateway|gen_ai)_\w+", expr))
        labels = {label for known in DEFINITIONS for label in known.labels}
        assert used - labels, where
        assert used - labels <= SERIES.keys(), where
        for name, selector in re.findall(r"\b(\w+)\{([^}]*)\}", expr):
            selected = set(re.findall(r"(\w+)=", selector))
            assert selected <= set(SERIES[name].labels), where


def test_every_metric_of_the_journal_or_the_process_is_seen_by_somebody() -> None:
    """What no dashboard and no rule shows is either shown here by name, or forgotten."""
    told = " ".join(expressions().values())
    unseen = {
        known.name for known in DEFINITIONS if not any(name in told for name in known.samples)
    }
    # OpenTelemetry's client view repeats ours, for dashboards that others have made.
    assert unseen == {
        "gateway_first_output_seconds",
        "gateway_total_seconds",
        "gateway_journal_lag_bytes",
        "gen_ai_client_operation_duration_seconds",
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "gen_ai_client_token_usage",
    }


@pytest.mark.parametrize(
    ("name", "by", "where"),
    [
        ("gateway_nothing_total", (), {}),
        ("gateway_boot_seconds", (), {}),  # a histogram has no series of its own name
        ("gateway_boots_total", ("model",), {}),
        ("gateway_boots_total", (), {"model": "x"}),
    ],
)
def test_a_query_over_what_does_not_exist_cannot_be_made(
    name: str, by: tuple[str, ...], where: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=name):
        queries.rate(name, "5m", by, where)


def test_panels_neither_overlap_nor_stick_out() -> None:
    for dashboard in dashboards().values():
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {(x, at["y"]) for x in range(at["x"], at["x"] + at["w"])}
            assert not cells & taken and at["x"] + at["w"] <= 24
            taken |= cells
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_labels_are_bounded_and_names_are_the_fields() -> None:
    for known in DEFINITIONS:
        assert re.fullmatch(r"(gateway|gen_ai)_[a-z_]+", known.name)
        assert (known.kind == "counter") == known.name.endswith("_total")
        assert bool(known.buckets) == (known.kind == "histogram")
        assert not set(known.labels) & {"key_id", "operation_id", "attempt_id", "tag", "trace_id"}
        assert known.help.endswith(".") and len(known.help) <= 100
    assert len(BY_NAME) == len(DEFINITIONS)


# -- by Prometheus itself ----------------------------------------------------------------------


@needs_promtool
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    said = promtool("check", "rules", DEPLOY / "prometheus" / "gateway.rules.yml")
    assert f"{len(ALERTS)} rules found" in said


@needs_promtool
def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expr}
        for number, expr in enumerate(expressions().values())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", path)


WHERE = 'provider="acme", deployment="far"'
UP = {"series": "gateway_build_info", "values": "1x60"}

CASES = {
    "GatewayGone": None,
    "GatewayDiskFull": [("gateway_journal_backlog_lines", "0x5 3x60")],
    "GatewayShipperDown": [("gateway_shipper_running", "1x5 0x60")],
    "GatewayLedgerBehind": [("gateway_journal_lag_lines", "0x5 30000x60")],
    "GatewayRestarting": [("gateway_start_time_seconds", "1x50 2x2 3x2 4x10")],
    "GatewayProviderNeedsOperator": [  # it is there with its first failure
        (f'gateway_provider_errors_total{{{WHERE}, error_type="QuotaExhausted"}}', "_x50 1x10")
    ],
    "GatewayProviderErrors": [
        (f'gateway_provider_errors_total{{{WHERE}, error_type="UpstreamFailed"}}', "0+2x60"),
        (f'gateway_attempts_total{{{WHERE}, status="failed"}}', "0+2x60"),
        (f'gateway_attempts_total{{{WHERE}, status="succeeded"}}', "0+10x60"),
    ],
    "GatewayDeploymentPaused": [('gateway_deployment_paused{deployment="far"}', "1x60")],
    "GatewayQueueing": [('gateway_deployment_queued{deployment="far"}', "4x60")],
    "GatewayBudgetLow": [
        ('gateway_budget_left_usd{budget="all"}', "9x60"),
        ('gateway_budget_limit_usd{budget="all"}', "100x60"),
    ],
    "GatewayCostUnknown": [(f'gateway_unpriced_attempts_total{{{WHERE}, model="m"}}', "0+1x60")],
    "GatewayColdStarts": [
        (f'gateway_cold_starts_total{{{WHERE}, verdict="cold"}}', "0+3x60"),
        (f'gateway_cold_starts_total{{{WHERE}, verdict="warm"}}', "0+1x60"),
    ],
    "GatewayBootsSlow": [
        (f'gateway_boot_seconds_bucket{{{WHERE}, le="300.0"}}', "0x60"),
        (f'gateway_boot_seconds_bucket{{{WHERE}, le="600.0"}}', "0+1x60"),
        (f'gateway_boot_seconds_bucket{{{WHERE}, le="+Inf"}}', "0+1x60"),
    ],
    "GatewaySlow": [
        (f'gateway_overhead_seconds_bucket{{{WHERE}, le="0.1"}}', "0x60"),
        (f'gateway_overhead_seconds_bucket{{{WHERE}, le="0.25"}}', "0+9x60"),
        (f'gateway_overhead_seconds_bucket{{{WHERE}, le="+Inf"}}', "0+9x60"),
    ],
}


@needs_promtool
@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_fires_when_it_should_and_not_before(alert: Any, tmp_path: Path) -> None:
    inputs = CASES[alert.name]
    firing = {
        "interval": "1m",
        "input_series": [
            *([] if inputs is None else [UP]),
            *({"series": series, "values": values} for series, values in inputs or []),
        ],
        # Its labels and texts are not repeated here: that it fires at all, and alone, is counted.
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert.name}", alertstate="firing"}})',
                "eval_time": "59m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        ],
    }
    quiet = {
        "interval": "1m",
        "input_series": [UP],
        "alert_rule_test": [{"eval_time": "59m", "alertname": alert.name, "exp_alerts": []}],
    }
    path = tmp_path / "tests.yml"
    rules = str(DEPLOY / "prometheus" / "gateway.rules.yml")
    tree = {"rule_files": [rules], "evaluation_interval": "1m", "tests": [firing, quiet]}
    path.write_text(yaml.safe_dump(tree))
    promtool("test", "rules", path)
