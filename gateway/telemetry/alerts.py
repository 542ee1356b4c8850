"""Prometheus alert rules, made from the definitions of metrics.

Each says who must act, and on what. Thresholds are beginnings: they stand in the file, to be moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gateway.telemetry.queries import increase, quantile, rate, series, total

_PLACE = ("provider", "deployment")
_NEEDS_OPERATOR = {"error_type": "CredentialsRejected|QuotaExhausted|ProviderRetired"}


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule. ``lasting``: for how long it must hold."""

    name: str
    expr: str
    lasting: str
    severity: Literal["critical", "warning", "info"]
    summary: str
    description: str


def _needs_operator() -> str:
    errors = series("gateway_provider_errors_total", _NEEDS_OPERATOR)
    grown = increase(
        "gateway_provider_errors_total", "15m", (*_PLACE, "error_type"), _NEEDS_OPERATOR
    )
    # A series that begins at 1 has not grown.
    begun = f"sum by ({', '.join(_PLACE)}, error_type) ({errors} unless {errors} offset 15m)"
    return f"{grown} > 0 or {begun} > 0"


def _share(part: str, whole: str, more_than: float, at_least: str) -> str:
    return f"{part} / {whole} > {more_than:g} and {at_least}"


ALERTS: tuple[Alert, ...] = (
    Alert(
        "GatewayGone",
        f"absent({series('gateway_build_info')})",
        "5m",
        "critical",
        "No gateway is scraped.",
        "None is up, or Prometheus has no key with the scope reports.",
    ),
    Alert(
        "GatewayRestarting",
        f"changes({series('gateway_start_time_seconds')}[30m]) > 2",
        "0m",
        "warning",
        "{{ $labels.instance }} has begun anew {{ $value }} times in half an hour.",
        "Its log tells why; attempts that were cut off are booked as interrupted.",
    ),
    Alert(
        "GatewayDiskFull",
        f"{series('gateway_journal_backlog_lines')} > 0",
        "1m",
        "critical",
        "The journal of {{ $labels.instance }} has no room.",
        "New calls are refused with 503 until its volume has room; what runs goes on.",
    ),
    Alert(
        "GatewayShipperDown",
        f"{series('gateway_shipper_running')} == 0",
        "2m",
        "critical",
        "{{ $labels.instance }} books nothing into its database.",
        "Requests go on, reports and budgets' history grow old, the journal grows. See its log.",
    ),
    Alert(
        "GatewayLedgerBehind",
        f"{series('gateway_journal_lag_lines')} > 20000",
        "5m",
        "warning",
        "The database of {{ $labels.instance }} is {{ $value }} lines behind the journal.",
        "It is locked, slow, full or away. Nothing is lost; reports answer with as_of.",
    ),
    Alert(
        "GatewayProviderNeedsOperator",
        _needs_operator(),
        "0m",
        "critical",
        "{{ $labels.deployment }} fails with {{ $labels.error_type }}.",
        "{{ $labels.provider }} takes no work until its key, its credit or the configuration is set"
        " right. Repeating does not help.",
    ),
    Alert(
        "GatewayProviderErrors",
        _share(
            rate("gateway_provider_errors_total", "10m", _PLACE),
            rate("gateway_attempts_total", "10m", _PLACE),
            0.1,
            f"{increase('gateway_attempts_total', '10m', _PLACE)} > 10",
        ),
        "10m",
        "warning",
        "{{ $labels.deployment }} fails {{ $value | humanizePercentage }} of its attempts.",
        "The dashboard Gateway shows the classes; attempts that failed may cost money too.",
    ),
    Alert(
        "GatewayDeploymentPaused",
        f"{series('gateway_deployment_paused')} == 1",
        "10m",
        "warning",
        "Requests go past {{ $labels.deployment }}, which fails or is rate limited.",
        "Its models are served by their other deployments, or not at all.",
    ),
    Alert(
        "GatewayQueueing",
        f"{total('gateway_deployment_queued', ('deployment',))} > 0",
        "10m",
        "warning",
        "{{ $value }} operations wait for a place at {{ $labels.deployment }}.",
        "limits.max_concurrency is reached: raise it, or give the model another deployment.",
    ),
    Alert(
        "GatewayBudgetLow",
        f"{series('gateway_budget_left_usd')} / {series('gateway_budget_limit_usd')} < 0.1",
        "5m",
        "warning",
        "The budget {{ $labels.budget }} has {{ $value | humanizePercentage }} left.",
        "Whoever set it can raise it; when nothing is left, calls are refused with 402.",
    ),
    Alert(
        "GatewayCostUnknown",
        f"{increase('gateway_unpriced_attempts_total', '1h', (*_PLACE, 'model'))} > 0",
        "0m",
        "info",
        "Attempts of {{ $labels.model }} at {{ $labels.deployment }} have no known cost.",
        "Set a price for the deployment; `gateway reprice` computes past attempts anew.",
    ),
    Alert(
        "GatewayColdStarts",
        _share(
            increase("gateway_cold_starts_total", "1h", _PLACE, {"verdict": "=cold"}),
            increase("gateway_cold_starts_total", "1h", _PLACE),
            0.5,
            f"{increase('gateway_cold_starts_total', '1h', _PLACE)} > 10",
        ),
        "15m",
        "info",
        "{{ $value | humanizePercentage }} of the attempts at {{ $labels.deployment }} were cold.",
        "`gateway cold-starts` shows the boots, `gateway compare` what others would cost.",
    ),
    Alert(
        "GatewayBootsSlow",
        f"{quantile(0.9, 'gateway_boot_seconds', '1h', _PLACE)} > 300",
        "15m",
        "warning",
        "One boot in ten of {{ $labels.deployment }} takes longer than {{ $value }} s.",
        "timeouts.boot_seconds ends a boot; callers hear of it as cold_start_timeout.",
    ),
    Alert(
        "GatewaySlow",
        f"{quantile(0.99, 'gateway_overhead_seconds', '10m')} > 0.1",
        "10m",
        "warning",
        "The gateway itself adds {{ $value }} s to one attempt in a hundred.",
        "It lacks CPU, or its volume is slow (journal.fsync).",
    ),
)


def rules() -> dict[str, Any]:
    """The rule file as a tree."""
    return {
        "groups": [
            {
                "name": "gateway",
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expr,
                        "for": alert.lasting,
                        "labels": {"severity": alert.severity},
                        "annotations": {
                            "summary": alert.summary,
                            "description": alert.description,
                        },
                    }
                    for alert in ALERTS
                ],
            }
        ]
    }
