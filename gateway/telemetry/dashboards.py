"""Grafana dashboards, made from the definitions of metrics: what each shows is a table below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.telemetry.definitions import BY_NAME
from gateway.telemetry.queries import average, increase, quantile, rate, series, total

_SCHEMA = 39  # Grafana 10 and newer
_WINDOW = "$__rate_interval"
_COLUMNS, _HEIGHT = 24, 8
_PICKED = {"provider": "$provider", "deployment": "$deployment"}
_DEPLOYMENT = {"deployment": "$deployment"}
_OTEL = {"gen_ai_provider_name": "$provider"}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: PromQL -> legend. ``unit`` is Grafana's word; ``width`` of 24 columns."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    text: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page of charts."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def _spread(name: str, labels: Mapping[str, str] = _PICKED) -> dict[str, str]:
    return {
        quantile(share, name, _WINDOW, where=labels): f"p{share * 100:g}"
        for share in (0.5, 0.9, 0.99)
    }


def _text(name: str) -> str:
    return BY_NAME[name].help


_OVERVIEW = Dashboard(
    "gateway-overview",
    "Gateway",
    (
        Panel(
            "Attempts that ended",
            {rate("gateway_attempts_total", _WINDOW, ("status",), _PICKED): "{{status}}"},
            "reqps",
        ),
        Panel(
            "Errors of providers",
            {
                rate(
                    "gateway_provider_errors_total",
                    _WINDOW,
                    ("deployment", "error_type"),
                    _PICKED,
                ): "{{deployment}} {{error_type}}"
            },
            "reqps",
            text=_text("gateway_provider_errors_total"),
        ),
        Panel(
            "Running now",
            {
                total("gateway_operations_running"): "operations",
                total("gateway_deployment_running", ("deployment",), _DEPLOYMENT): "{{deployment}}",
            },
        ),
        Panel(
            "Operations, from request to answer",
            _spread("gen_ai_server_request_duration_seconds", _OTEL),
            "s",
            text=_text("gen_ai_server_request_duration_seconds"),
        ),
        Panel(
            "Until the first token",
            _spread("gen_ai_server_time_to_first_token_seconds", _OTEL),
            "s",
            text=_text("gen_ai_server_time_to_first_token_seconds"),
        ),
        Panel(
            "The gateway's own share",
            _spread("gateway_overhead_seconds"),
            "s",
            text=_text("gateway_overhead_seconds"),
        ),
        Panel(
            "Waiting for a place",
            {total("gateway_deployment_queued", ("deployment",), _DEPLOYMENT): "{{deployment}}"},
        ),
        Panel(
            "The longest of these waits",
            {series("gateway_deployment_queued_longest_seconds", _DEPLOYMENT): "{{deployment}}"},
            "s",
        ),
        Panel(
            "Tokens",
            {
                rate(
                    "gateway_tokens_total", _WINDOW, ("direction", "source"), _PICKED
                ): "{{direction}}, {{source}}"
            },
            "tokens/s",
        ),
        Panel(
            "Seconds a token",
            _spread("gen_ai_server_time_per_output_token_seconds", _OTEL),
            "s",
            text=_text("gen_ai_server_time_per_output_token_seconds"),
        ),
        Panel(
            "Out of service, or paused",
            {
                total(
                    "gateway_deployment_cordoned", ("deployment",), _DEPLOYMENT
                ): "{{deployment}} cordoned",
                total(
                    "gateway_deployment_paused", ("deployment",), _DEPLOYMENT
                ): "{{deployment}} paused",
            },
        ),
        Panel(
            "Journal ahead of the database",
            {
                total("gateway_journal_lag_lines"): "lines",
                total("gateway_journal_backlog_lines"): "lines that wait for room",
            },
        ),
        Panel(
            "Shipper",
            {
                total("gateway_shipper_running"): "running",
                total("gateway_shipper_restarts_total"): "restarts",
            },
        ),
    ),
)
_COLD_STARTS = Dashboard(
    "gateway-cold-starts",
    "Gateway: cold starts",
    (
        Panel(
            "Verdicts",
            {rate("gateway_cold_starts_total", _WINDOW, ("verdict",), _PICKED): "{{verdict}}"},
            "reqps",
        ),
        Panel(
            "Cold share of the last hour",
            {
                increase(
                    "gateway_cold_starts_total",
                    "1h",
                    ("deployment",),
                    {**_PICKED, "verdict": "=cold"},
                )
                + " / "
                + increase(
                    "gateway_cold_starts_total", "1h", ("deployment",), _PICKED
                ): "{{deployment}}"
            },
            "percentunit",
        ),
        Panel(
            "Boots that attempts caused",
            {increase("gateway_boots_total", "1h", ("deployment",), _PICKED): "{{deployment}}"},
        ),
        Panel(
            "Boot seconds",
            {
                rate("gateway_boot_seconds_bucket", _WINDOW, ("le",), _PICKED): "{{le}}",
            },
            "s",
            kind="heatmap",
            width=12,
            text=_text("gateway_boot_seconds"),
        ),
        Panel(
            "One boot in ten is longer",
            {
                quantile(
                    0.9, "gateway_boot_seconds", "1h", ("deployment",), _PICKED
                ): "{{deployment}}"
            },
            "s",
            width=12,
        ),
        Panel(
            "Seconds of cold attempts, by phase",
            {
                rate("gateway_cold_start_seconds_sum", _WINDOW, ("phase",), _PICKED)
                + " / "
                + rate(
                    "gateway_cold_start_seconds_count", _WINDOW, ("phase",), _PICKED
                ): "{{phase}}"
            },
            "s",
            text=_text("gateway_cold_start_seconds"),
        ),
        Panel(
            "What verdicts rest on",
            {
                rate(
                    "gateway_cold_start_seconds_count", _WINDOW, ("evidence",), _PICKED
                ): "{{evidence}}"
            },
            "reqps",
        ),
        Panel(
            "Chance to be warm",
            {
                average(
                    "gateway_deployment_warm_probability", ("deployment",), _DEPLOYMENT
                ): "{{deployment}}"
            },
            "percentunit",
            text=_text("gateway_deployment_warm_probability"),
        ),
        Panel(
            "A boot is expected to take",
            {
                average(
                    "gateway_deployment_expected_boot_seconds", ("deployment",), _DEPLOYMENT
                ): "{{deployment}}"
            },
            "s",
            text=_text("gateway_deployment_expected_boot_seconds"),
        ),
        Panel(
            "Expected now",
            {
                total("gateway_deployment_state", ("deployment", "state"), _DEPLOYMENT)
                + " > 0": "{{deployment}} {{state}}"
            },
            text=_text("gateway_deployment_state"),
        ),
    ),
)
_COSTS = Dashboard(
    "gateway-costs",
    "Gateway: costs",
    (
        Panel(
            "USD an hour, attempts",
            {increase("gateway_cost_usd_total", "1h", ("deployment",), _PICKED): "{{deployment}}"},
            "currencyUSD",
        ),
        Panel(
            "USD an hour, by how it is known",
            {increase("gateway_cost_usd_total", "1h", ("status",), _PICKED): "{{status}}"},
            "currencyUSD",
        ),
        Panel(
            "USD an hour, no attempt's",
            {
                increase(
                    "gateway_charges_usd_total", "1h", ("deployment", "kind"), _PICKED
                ): "{{deployment}} {{kind}}"
            },
            "currencyUSD",
            text=_text("gateway_charges_usd_total"),
        ),
        Panel(
            "USD an hour, by model",
            {increase("gateway_cost_usd_total", "1h", ("model",), _PICKED): "{{model}}"},
            "currencyUSD",
        ),
        Panel(
            "Of unknown cost in an hour",
            {
                increase(
                    "gateway_unpriced_attempts_total", "1h", ("deployment",), _PICKED
                ): "{{deployment}}, attempts",
                increase(
                    "gateway_unpriced_charges_total", "1h", ("deployment",), _PICKED
                ): "{{deployment}}, charges",
            },
            text="They are in no sum: unknown is not 0.",
        ),
        Panel(
            "USD a million tokens",
            {
                increase("gateway_cost_usd_total", "1h", ("deployment",), _PICKED)
                + " / "
                + increase("gateway_tokens_total", "1h", ("deployment",), _PICKED)
                + " * 1000000": "{{deployment}}"
            },
            "currencyUSD",
            text="Known cost of attempts over all their tokens, in and out.",
        ),
        Panel(
            "Left of budgets",
            {total("gateway_budget_left_usd", ("budget",)): "{{budget}}"},
            "currencyUSD",
            width=12,
            text=_text("gateway_budget_left_usd"),
        ),
        Panel(
            "Used of budgets",
            {
                total("gateway_budget_spent_usd", ("budget",))
                + " / "
                + total("gateway_budget_limit_usd", ("budget",)): "{{budget}}"
            },
            "percentunit",
            width=12,
        ),
    ),
)
DASHBOARDS = (_OVERVIEW, _COLD_STARTS, _COSTS)


def grafana(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard in Grafana's own words, ready for JSON."""
    panels: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > _COLUMNS:
            x, y = 0, y + _HEIGHT
        place = {"h": _HEIGHT, "w": panel.width, "x": x, "y": y}
        panels.append(_panel(number, panel, place))
        x += panel.width
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["inference-gateway"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_datasource(), *map(_variable, ("provider", "deployment"))]},
        "panels": panels,
    }


def _panel(number: int, panel: Panel, place: Mapping[str, int]) -> dict[str, Any]:
    form = "heatmap" if panel.kind == "heatmap" else "time_series"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"calculate": False} if panel.kind == "heatmap" else {},
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "format": form,
            }
            for n, (expr, legend) in enumerate(panel.queries.items())
        ],
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }


def _variable(label: str) -> dict[str, Any]:
    query = f"label_values(gateway_attempts_total, {label})"
    return {
        "name": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": label},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
