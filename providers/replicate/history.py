"""What Replicate says afterwards: about one prediction, and the list of all that were made.

Source: https://replicate.com/docs/reference/http, ``predictions.get`` and ``predictions.list`` (as
recorded 2026-06-30; newest first, 100 a page, ``next`` is the address of the next page), and the
``replicate`` SDK 2.0.0b4 for ``created_after`` and ``created_before``; read 2026-11-23. Input,
output and log are gone after an hour; stamps and metrics stay. How far back the list goes is not
said.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ValidationError

from providers.contract import JobReport, ProtocolViolation
from providers.replicate.api import Api
from providers.replicate.errors import failure
from providers.replicate.prediction import ENDED, UNDER_WAY, Prediction, StartRule

_WIDER = timedelta(seconds=1)


class _Page(BaseModel):
    results: list[Prediction]
    next: str | None = None


def report(prediction: Prediction, rule: StartRule) -> JobReport:
    """What it says later about a job."""
    status: Literal["running", "unknown"] = (
        "running" if prediction.status in UNDER_WAY else "unknown"
    )
    phases = rule.phases(prediction) if prediction.ended else None
    failed = phases is not None and prediction.status != "succeeded"
    return JobReport(
        prediction.id,
        ENDED.get(prediction.status, status),
        prediction.usage,
        phases,
        prediction.created,
        prediction.completed,
        model=_text(prediction.model),
        deployment=_text(prediction.deployment),
        failure=failure(prediction, phases) if failed and phases is not None else None,
    )


async def find(
    api: Api,
    rule: StartRule,
    since: datetime,
    until: datetime,
    ours: Callable[[Prediction], bool] = lambda prediction: True,
) -> AsyncGenerator[JobReport, None]:
    """Predictions that were made from ``since`` to before ``until``, newest first.

    The bounds are sent along, a little wider (whether they are part of the range is not said), and
    kept here as well, in case that they are not honoured.
    """
    bounds = {
        "created_after": _stamp(since - _WIDER),
        "created_before": _stamp(until + _WIDER),
    }
    query = urlencode(bounds)
    while query:
        raw = await api.page(query)
        try:
            page = _Page.model_validate_json(raw)
        except ValidationError:
            raise ProtocolViolation("Replicate's answer is no list of predictions.") from None
        for prediction in page.results:
            created = prediction.created
            if created is not None and created < since:
                return
            if (created is None or created < until) and ours(prediction):
                yield report(prediction, rule)
        # Only its query is taken: the token goes to no other address.
        following = urlsplit(page.next).query if page.next else ""
        if following == query:
            raise ProtocolViolation("Replicate's list leads back to the same page.")
        query = following


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
