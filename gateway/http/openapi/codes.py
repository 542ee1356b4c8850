"""Every error: the map of failures from ``gateway.http.errors``, and what the doors say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from gateway.errors import GatewayError
from gateway.http.errors import STATUSES
from gateway.ledger.errors import LedgerUnavailable, SchemaMismatch, StoreUnavailable
from gateway.limits.keystore import KeyStoreUnusable
from providers.contract import ProviderError

Codes: TypeAlias = Mapping[str, tuple[int, str]]
"""Status and meaning by code."""


def _said(*bases: type[BaseException]) -> Codes:
    """The codes of failures of these classes, with their public messages."""
    found: dict[str, tuple[int, str]] = {}
    for error, (status, code) in STATUSES.items():
        if issubclass(error, bases):
            message = (error.__doc__ or "").split("\n", 1)[0]
            known = found.get(code)
            if known is None:
                found[code] = (status, message)
            elif message not in known[1]:
                found[code] = (status, f"{known[1]} {message}")
    return found


DOOR: Codes = {
    "host_not_allowed": (403, "Without keys, only local names are served."),
    "origin_not_allowed": (403, "Without keys, web pages may not call."),
    "internal_error": (500, "The gateway has a fault; its log says more."),
}
"""On every route."""
KEY: Codes = {
    "missing_api_key": (401, "Send a key: Authorization: Bearer <key>."),
    "invalid_api_key": (401, "The key is not known here."),
    "api_key_expired": (401, "The key has expired; ask for another one."),
    "missing_scope": (403, "The key may not do this."),
}
"""Where a key is asked for."""
QUERY: Codes = {"invalid_value": (400, "A parameter; param says which.")}
"""Where the URL asks something."""
REPORT: Codes = _said(StoreUnavailable, SchemaMismatch)
"""Where the ledger's database is read."""
BODY: Codes = {
    "invalid_json": (400, "The body is not valid JSON."),
    "missing_field": (400, "A field is missing; param says which."),
    "unknown_field": (400, "A field is not known; param says which."),
    "invalid_value": (400, "A field's value; param says which."),
    "body_timeout": (408, "The body did not arrive in time."),
    "body_too_large": (413, "The body is larger than server.max_body_bytes."),
    "unsupported_media_type": (415, "Send the body as JSON: Content-Type: application/json."),
}
"""Where a body is read."""
_ROUTED: Codes = {
    "too_many_fields": (400, "An object has more fields than any has."),
    "max_output_tokens_too_large": (400, "The model gives fewer output tokens."),
    "unsupported_header": (400, "Prefer takes respond-async and wait=N, and not with a stream."),
    "unsupported_parameter": (400, "The model does not support the parameter."),
    "no_deployment_left": (400, "routing leaves none of the model's deployments."),
    "hedge_impossible": (400, "No two deployments of the model could race."),
    "max_cost_exceeded": (402, "Every deployment is expected to cost more than max_cost_usd."),
    "model_not_allowed": (403, "The key may not ask for this model."),
    "idempotency_key_reused": (422, "Another body came with this Idempotency-Key."),
    "answer_not_kept": (422, "The answer to this Idempotency-Key was too long to be kept."),
    "rate_limited": (429, "What may be asked for in a minute is used up."),
    "deployments_cordoned": (503, "Every deployment of the model is out of service."),
    "model_cold": (503, "The model is cold, and the request does not wait."),
}
RUN: Codes = {**_said(ProviderError, GatewayError, LedgerUnavailable), **_ROUTED}
"""Where a model is asked."""
MODEL: Codes = {"model_not_found": (404, "No model of this name is configured.")}
OPERATION: Codes = {
    "operation_not_found": (404, "No such operation, or it is another key's."),
    "ledger_behind": (503, "The database is behind the journal; ask again."),
    **{code: said for code, said in RUN.items() if code == "results_unavailable"},
}
DEPLOYMENT: Codes = {"deployment_not_found": (404, "There is no deployment of this name.")}
WARM: Codes = {"cannot_be_warmed": (409, "Its provider has no way to boot it without work.")}
KEYS: Codes = _said(KeyStoreUnusable)
KEY_NAMED: Codes = {
    "key_not_found": (404, "There is no such key, or it is revoked."),
    "key_is_configured": (409, "The key stands in the configuration; it is changed there."),
}
KEY_NEW: Codes = {
    "key_exists": (409, "There is or was a key of this name; choose another one."),
    "keys_are_off": (409, "Keys are not asked for here; the operator can set auth.mode: keys."),
}
WEBHOOK: Codes = {
    "webhook_refused": (403, "It is not signed by that provider, or too old."),
    "body_timeout": (408, "The body did not arrive in time."),
    "body_too_large": (413, "The body is larger than 1 MiB."),
    "busy": (503, "Too many at once, or the provider cannot be asked for its secret."),
}
ELSEWHERE: Codes = {
    "route_not_found": (404, "There is no such route."),
    "method_not_allowed": (405, "The route does not take this method."),
}
"""Of no route in the document."""


def by_status(groups: Iterable[Codes]) -> dict[int, dict[str, str]]:
    """Code and meaning by status, each of the groups' codes once."""
    found: dict[int, dict[str, str]] = {}
    for group in groups:
        for code, (status, meaning) in group.items():
            found.setdefault(status, {}).setdefault(code, meaning)
    return dict(sorted(found.items()))
