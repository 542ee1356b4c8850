"""``POST /v1/webhooks/{provider}``: what a provider says by itself about a job that has ended.

A door of its own: no key opens it, but the provider's signature. Whoever has none learns nothing,
not even whether there is such a provider.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.http.body import read_body
from gateway.http.errors import HttpError
from gateway.http.state import state_of
from gateway.registry import WEBHOOKS_PATH
from providers.contract import ProtocolViolation, ProviderError, WebhookRejected

router = APIRouter()
logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20  # a larger one is of an answer that is fetched anyhow
MOST_AT_ONCE = 32
_CHECK_SECONDS = 10.0  # for a provider that must be asked for its secret first
_AGAIN_SECONDS = 60.0


@router.post(WEBHOOKS_PATH + "/{provider}", response_class=Response, status_code=204)
async def webhook(request: Request, provider: str) -> Response:
    """A signed message of a provider about one of its jobs. 204: it need not be sent again."""
    state = state_of(request)
    inbox = state.inbox
    if inbox.under_way >= MOST_AT_ONCE:
        raise HttpError(503, "busy", "Too many messages at once.", retry_after_seconds=1.0)
    inbox.under_way += 1
    try:
        limits = state.settings.server
        most = min(MAX_BODY_BYTES, limits.max_body_bytes)
        body = await read_body(request, limits.model_copy(update={"max_body_bytes": most}))
        known = state.registry.notifiable(provider)
        if known is None:
            raise _refused()
        now = datetime.fromtimestamp(state.executor.clock.wall_us() / 1e6, UTC)
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                job_id = await known.notified(dict(request.headers), body, now)
        except WebhookRejected as rejected:
            inbox.refusals[provider] += 1
            if (count := inbox.refusals[provider]) & (count - 1) == 0:  # the 1st, 2nd, 4th ...
                logger.warning("webhooks of %s: %d refused so far: %s", provider, count, rejected)
            raise _refused() from None
    except ProtocolViolation:
        logger.warning("webhooks of %s: one is genuine and cannot be read", provider)
        return Response(status_code=204)
    except (ProviderError, TimeoutError) as error:
        logger.warning("webhooks of %s: cannot be checked (%s)", provider, type(error).__name__)
        raise HttpError(
            503, "busy", "This cannot be checked now.", retry_after_seconds=_AGAIN_SECONDS
        ) from None
    finally:
        inbox.under_way -= 1
    if job_id is not None:
        state.reconciliation.notified(provider, job_id)
    return Response(status_code=204)


def _refused() -> HttpError:
    return HttpError(403, "webhook_refused", "This message is not accepted.")
