"""Every metric of the gateway: the one table that all else about metrics is made from.

Names and buckets of ``gen_ai_*`` are OpenTelemetry's GenAI conventions as a Prometheus exporter
spells them (dots become ``_``, the unit is appended), with more buckets for boots: theirs end at
82 s (https://github.com/open-telemetry/semantic-conventions-genai, read on 2026-11-23; all of it
is still "Development"). Labels hold names of the configuration, names of classes and words of ours:
no metric has a label that callers can fill.

``journal``: folded from the journal, by the one shipper of a data folder. ``process``: what the
gateway that is asked knows at this moment. Several gateways are several targets to Prometheus, each
with its ``instance``; no attempt is in two journals, so sums over instances are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_WHERE = ("provider", "deployment")
_WHICH = (*_WHERE, "model")
_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_WAIT_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
_BOOT_SECONDS = (0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200)
_OVERHEAD_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_OPERATION_SECONDS = (*(0.01 * 2**n for n in range(17)), 1200.0)
_FIRST_TOKEN_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
    *(20, 30, 60, 120, 300, 600, 1200),
)
_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_TOKENS = tuple(4**n for n in range(14))


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric: its name as exposed, its labels, what it means, its buckets if it has any."""

    name: str
    kind: Kind
    source: Literal["journal", "process"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its series."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


def _count(name: str, labels: tuple[str, ...], text: str) -> Definition:
    return Definition(f"gateway_{name}_total", "counter", "journal", labels, text)


def _spread(
    name: str, labels: tuple[str, ...], text: str, buckets: tuple[float, ...]
) -> Definition:
    return Definition(name, "histogram", "journal", labels, text, buckets)


def _now(name: str, labels: tuple[str, ...], text: str, kind: Kind = "gauge") -> Definition:
    return Definition(f"gateway_{name}", kind, "process", labels, text)


DEFINITIONS: tuple[Definition, ...] = (
    _count("attempts", (*_WHICH, "status", "error_type"), "Attempts that ended."),
    _count(
        "provider_errors",
        (*_WHERE, "error_type"),
        "Attempts that failed on the provider's side, by class of the failure.",
    ),
    _count("cost_usd", (*_WHICH, "status"), "Known cost of attempts in USD, by cost status."),
    _count("unpriced_attempts", _WHICH, "Attempts whose cost is not known."),
    _count(
        "charges_usd",
        (*_WHERE, "kind", "status"),
        "Known cost in USD that belongs to no attempt: idle, standing, keep_warm, fee.",
    ),
    _count("unpriced_charges", (*_WHERE, "kind"), "Charges whose cost is not known."),
    _count("tokens", (*_WHICH, "direction", "source"), "Tokens, by who counted them."),
    _count("cold_starts", (*_WHERE, "verdict"), "Attempts by verdict."),
    _count("boots", _WHERE, "Boots that attempts caused."),
    _spread("gateway_boot_seconds", _WHERE, "Boots that attempts caused.", _BOOT_SECONDS),
    _spread(
        "gateway_cold_start_seconds",
        (*_WHERE, "phase", "evidence"),
        "Waits of cold attempts: queue, boot, or wait where the two cannot be told apart.",
        _BOOT_SECONDS,
    ),
    _spread("gateway_first_output_seconds", _WHERE, "Until the first output.", _WAIT_SECONDS),
    _spread("gateway_total_seconds", _WHERE, "Whole attempts.", _WAIT_SECONDS),
    _spread(
        "gateway_overhead_seconds",
        _WHERE,
        "The gateway's own share of attempts.",
        _OVERHEAD_SECONDS,
    ),
    _spread(
        "gen_ai_client_token_usage",
        (*_GEN_AI, "gen_ai_token_type"),
        "Tokens of attempts where both directions were counted; estimates are left out.",
        _TOKENS,
    ),
    _spread(
        "gen_ai_client_operation_duration_seconds",
        (*_GEN_AI, "error_type"),
        "Attempts, from dispatch to the end: the gateway as the provider's client.",
        _OPERATION_SECONDS,
    ),
    _spread(
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        _GEN_AI,
        "Streamed attempts, from dispatch to the first output.",
        _FIRST_TOKEN_SECONDS,
    ),
    _spread(
        "gen_ai_server_request_duration_seconds",
        _GEN_AI,
        "Operations that succeeded, from the caller's request to the end, retries included.",
        _OPERATION_SECONDS,
    ),
    _spread(
        "gen_ai_server_time_to_first_token_seconds",
        _GEN_AI,
        "Streamed operations that succeeded, from the caller's request to the first output.",
        _FIRST_TOKEN_SECONDS,
    ),
    _spread(
        "gen_ai_server_time_per_output_token_seconds",
        _GEN_AI,
        "Streamed operations that succeeded: seconds a token after the first, tokens as counted.",
        _TOKEN_SECONDS,
    ),
    _now("build_info", ("version",), "Always 1; the label holds the release."),
    _now("start_time_seconds", (), "When this gateway began, in seconds since the epoch."),
    _now("operations_running", (), "Operations that live in this process."),
    _now("deployment_running", ("deployment",), "Attempts running at a deployment."),
    _now("deployment_queued", ("deployment",), "Operations waiting for a place at a deployment."),
    _now(
        "deployment_queued_longest_seconds",
        ("deployment",),
        "How long the first of them has waited; no series where nobody waits.",
    ),
    _now(
        "deployment_state",
        ("deployment", "state"),
        "1 for how a deployment stands now: warm, likely warm, booting, likely off, off or "
        "unknown; else 0.",
    ),
    _now(
        "deployment_warm_probability",
        ("deployment",),
        "The chance that a call sent now waits for no boot; none: nothing is known.",
    ),
    _now(
        "deployment_expected_boot_seconds",
        ("deployment",),
        "How long a boot takes on average; none: nothing is known.",
    ),
    _now("deployment_cordoned", ("deployment",), "1 while it is out of service by order."),
    _now(
        "deployment_paused",
        ("deployment",),
        "1 while requests go elsewhere, because it fails or is rate limited.",
    ),
    _now("budget_limit_usd", ("budget",), "What may be spent in the present window."),
    _now("budget_spent_usd", ("budget",), "What the present window has spent; none: not known."),
    _now(
        "budget_left_usd",
        ("budget",),
        "What is left, without what running attempts hold; none: not known.",
    ),
    _now("journal_backlog_lines", (), "Lines that wait for room on the journal's volume."),
    _now("journal_lag_bytes", (), "Bytes of the journal that are not in the database yet."),
    _now("journal_lag_lines", (), "Lines of the journal that are not in the database yet."),
    _now("shipper_running", (), "1 while the process lives that ships the journal."),
    _now("shipper_restarts_total", (), "How often that process was started anew.", "counter"),
)

BY_NAME = {definition.name: definition for definition in DEFINITIONS}
