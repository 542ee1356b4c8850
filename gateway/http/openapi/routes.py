"""What the document says of each route beyond its handler's docstring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from gateway.http import comparison, parameters
from gateway.http.chat import ChatBody
from gateway.http.generate import GenerateBody
from gateway.http.keys import NewKey, Rotation
from gateway.http.openapi import chat, codes, examples, operations, reports, standing
from gateway.http.openapi.codes import Codes
from gateway.http.openapi.comparison import Comparison
from gateway.http.parameters import Parameter
from gateway.settings import Scope

TAGS: Mapping[str, str] = {
    "Inference": "Ask a model at any provider; cost and cold start are in the answer.",
    "Operations": "What was asked: one operation at a time, or all of them, and how to stop one.",
    "Reports": "What it cost, how cold it was, and where it would cost less.",
    "Deployments": "How deployments stand, and taking them in and out of service.",
    "Keys": "API keys while the gateway runs; for the scope `admin`.",
    "Webhooks": "For providers that say by themselves that a job has ended.",
    "Running it": "Health and metrics.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One successful answer: its body by media type, and headers beyond the usual."""

    what: str
    shapes: tuple[type[BaseModel], ...] = ()
    """One of these, as JSON; none: no body."""
    events: str | None = None
    """What is streamed instead, as server-sent events."""
    text: str | None = None
    """What it is instead, as plain text of this media type."""
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, slots=True)
class Route:
    """One route. ``scopes``: any of them opens it; none: no key is asked for."""

    tag: str
    answers: Mapping[int, Answer]
    scopes: tuple[Scope, ...] = ()
    errors: tuple[Codes, ...] = ()
    takes: Callable[[], tuple[Parameter, ...]] = tuple
    """What stands in the URL, besides filters."""
    filters: bool = False
    headers: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Headers that say more of a request: meaning and schema."""
    body: type[BaseModel] | None = None
    body_example: Any = None


_ASKED: tuple[Scope, ...] = ("generate",)
_SEEN: tuple[Scope, ...] = ("generate", "reports")
_BILL = {
    "x-request-id": "The operation's id.",
    "x-gateway-provider": "Who answered.",
    "x-gateway-cost-usd": "US dollars as decimal text; absent: not known.",
    "x-gateway-cost-status": "measured, estimated or unknown.",
    "x-gateway-cold-start": "cold, warm or unknown.",
    "server-timing": "Where the time went, in milliseconds.",
    **{
        f"x-ratelimit-{what}-{kind}": f"Where a rate limit holds: {meaning}."
        for kind in ("requests", "tokens")
        for what, meaning in (
            ("limit", f"{kind} a minute"),
            ("remaining", f"{kind} that are left"),
            ("reset", "when all of them are there again, 1m30s say"),
        )
    },
}
_CALL: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Idempotency-Key": (
        "The same call again joins the one that runs, or gets its answer back for nothing.",
        {"type": "string", "minLength": 1, "maxLength": 255},
    ),
    "Prefer": (
        "`respond-async` or `wait=N` (seconds): 202 and where to fetch the answer.",
        {"type": "string", "examples": ["respond-async", "wait=20"]},
    ),
}
_ACCEPTED = Answer(
    "To a caller that sent `Prefer`: where to ask for the answer, and when.",
    (operations.Underway,),
    headers={"location": "The operation.", "retry-after": "Seconds until it is worth asking."},
)
_RAN = (codes.BODY, codes.RUN, codes.MODEL)
_READ = (codes.QUERY, codes.REPORT)
_ONE = (codes.OPERATION, codes.REPORT)


def _report(
    what: str, shape: type[BaseModel], takes: Callable[[], tuple[Parameter, ...]], **more: Any
) -> Route:
    answers = {200: Answer(what, (shape,))}
    return Route("Reports", answers, ("reports",), _READ, takes, **more)


_STANDS = {200: Answer("The deployment as it stands.", (standing.DeploymentShown,))}

ROUTES: Mapping[tuple[str, str], Route] = {
    ("post", "/v1/generate"): Route(
        "Inference",
        {
            200: Answer(
                "What was made, with usage, cost, timing and verdict; with `dry_run`, the choice.",
                (operations.Operation, operations.DryRun),
                events=examples.EVENTS,
                headers=_BILL,
                example=examples.OPERATION,
            ),
            202: _ACCEPTED,
        },
        _ASKED,
        _RAN,
        headers=_CALL,
        body=GenerateBody,
        body_example=examples.GENERATE,
    ),
    ("post", "/v1/chat/completions"): Route(
        "Inference",
        {
            200: Answer(
                "A completion as OpenAI has it, with cost and verdict in `usage`; with "
                "`gateway.dry_run`, the choice.",
                (chat.ChatCompletion, operations.DryRun),
                events=examples.CHUNKS,
                headers=_BILL,
            ),
            202: _ACCEPTED,
        },
        _ASKED,
        _RAN,
        headers=_CALL,
        body=ChatBody,
        body_example=examples.CHAT,
    ),
    ("get", "/v1/models"): Route(
        "Inference", {200: Answer("The models.", (standing.Models,))}, _ASKED
    ),
    ("get", "/v1/models/{model}"): Route(
        "Inference", {200: Answer("The model.", (standing.ModelShown,))}, _ASKED, (codes.MODEL,)
    ),
    ("get", "/v1/operations"): Route(
        "Operations",
        {200: Answer("A page of operations, newest first.", (reports.Operations,))},
        _SEEN,
        _READ,
        lambda: parameters.OPERATIONS,
        filters=True,
    ),
    ("get", "/v1/operations/{operation_id}"): Route(
        "Operations",
        {200: Answer("The operation.", (operations.Operation, operations.Underway))},
        _SEEN,
        _ONE,
    ),
    ("delete", "/v1/operations/{operation_id}"): Route(
        "Operations", {204: Answer("Nothing is kept of it any more.")}, _ASKED, _ONE
    ),
    ("post", "/v1/operations/{operation_id}/cancel"): Route(
        "Operations",
        {200: Answer("The operation, ended.", (operations.Operation, operations.Underway))},
        _ASKED,
        _ONE,
    ),
    ("get", "/v1/charges"): _report(
        "A page of charges, newest first.",
        reports.Charges,
        lambda: parameters.CHARGES,
        filters=True,
    ),
    ("get", "/v1/costs"): Route(
        "Reports",
        {200: Answer("A page of sums.", (reports.Costs,), example=examples.COSTS)},
        _SEEN,
        _READ,
        lambda: parameters.COSTS,
        filters=True,
    ),
    ("get", "/v1/cold-starts"): Route(
        "Reports",
        {200: Answer("A page of counts.", (reports.ColdStarts,))},
        _SEEN,
        _READ,
        lambda: parameters.COLD_STARTS,
        filters=True,
    ),
    ("get", "/v1/compare"): _report(
        "Every candidate, the cheapest first.", Comparison, comparison.parameters, filters=True
    ),
    ("get", "/v1/warmth"): Route(
        "Reports",
        {200: Answer("What is known of each deployment.", (standing.Warmths,))},
        ("reports",),
        (codes.QUERY,),
        lambda: parameters.WARMTH,
    ),
    ("get", "/v1/budgets"): Route(
        "Reports",
        {200: Answer("Every budget.", (reports.Budgets,))},
        ("reports",),
        (codes.QUERY,),
    ),
    ("get", "/v1/deployments"): Route(
        "Deployments",
        {200: Answer("Every deployment.", (standing.Deployments,))},
        ("reports",),
        (codes.QUERY,),
    ),
    ("post", "/v1/deployments/{name}/cordon"): Route(
        "Deployments", _STANDS, ("admin",), (codes.DEPLOYMENT,)
    ),
    ("post", "/v1/deployments/{name}/uncordon"): Route(
        "Deployments", _STANDS, ("admin",), (codes.DEPLOYMENT,)
    ),
    ("post", "/v1/deployments/{name}/warm"): Route(
        "Deployments",
        {202: Answer("It is being booted.", (standing.DeploymentShown,))},
        ("admin",),
        (codes.DEPLOYMENT, codes.WARM),
    ),
    ("get", "/v1/keys"): Route(
        "Keys",
        {200: Answer("Every key.", (standing.Keys,))},
        ("admin",),
        (codes.QUERY, codes.KEYS),
    ),
    ("post", "/v1/keys"): Route(
        "Keys",
        {201: Answer("The key, with its secret.", (standing.KeyMade,))},
        ("admin",),
        (codes.BODY, codes.KEY_NEW, codes.KEYS),
        body=NewKey,
        body_example=examples.NEW_KEY,
    ),
    ("post", "/v1/keys/{name}/rotate"): Route(
        "Keys",
        {200: Answer("The key, with its new secret.", (standing.KeyMade,))},
        ("admin",),
        (codes.BODY, codes.KEY_NAMED, codes.KEYS),
        body=Rotation,
        body_example=examples.ROTATION,
    ),
    ("delete", "/v1/keys/{name}"): Route(
        "Keys",
        {200: Answer("The key, revoked.", (standing.KeyShown,))},
        ("admin",),
        (codes.KEY_NAMED, codes.KEYS),
    ),
    ("post", "/v1/webhooks/{provider}"): Route(
        "Webhooks", {204: Answer("It need not be sent again.")}, errors=(codes.WEBHOOK,)
    ),
    ("get", "/healthz"): Route("Running it", {200: Answer("It lives.", (standing.Health,))}),
    ("get", "/readyz"): Route(
        "Running it",
        {
            200: Answer("New operations are taken.", (standing.Readiness,)),
            503: Answer("They are not.", (standing.Readiness,)),
        },
    ),
    ("get", "/metrics"): Route(
        "Running it",
        {200: Answer("Every metric, in Prometheus' text format.", text=examples.METRICS)},
        ("reports",),
    ),
}
