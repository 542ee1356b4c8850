"""Every way an attempt can fail, named by who must act.

    ProviderError
    |- RequestRejected         the caller must change the request
    |  |- ModelNotFound        |- ContextTooLong        '- ContentRefused
    |- CredentialsRejected     the operator must act
    |- QuotaExhausted          the operator must pay; never retried
    |- RateLimited             wait (retry_after_seconds)
    |- CapacityUnavailable     wait: no room now
    |- ModelLoading            wait within the boot budget: it is cold, not broken
    |- BootTimeout             the boot outlived its budget
    |- UpstreamTimeout         |- UpstreamUnreachable   '- UpstreamFailed
    |- StreamInterrupted       died after the first output; never retried silently
    |- ProviderRetired         the service has ended
    '- ProtocolViolation       ours: we could not read them, or an adapter broke the grammar

The class docstring is the default message. ``detail`` is shown to callers, so it holds no key,
prompt, path, address or upstream body. What was spent on the way rides on the error: failures
cost money too. ``may_have_run``: the provider was asked for a job and nobody knows what came of it,
so asking there again may be a second paid run.
"""

from __future__ import annotations

from typing import Any, ClassVar

from providers.contract.events import Evidence, Phases
from providers.contract.usage import Usage


class ProviderError(Exception):
    """The provider could not do the work."""

    retryable: ClassVar[bool] = False  # may another attempt, before any output, go better?
    spends: ClassVar[bool] = True  # may this failure have cost money? False: refused before work

    def __init__(
        self,
        detail: str | None = None,
        *,
        param: str | None = None,
        job_id: str | None = None,
        upstream_status: int | None = None,
        retry_after_seconds: float | None = None,
        usage: Usage | None = None,
        phases: Phases | None = None,
        may_have_run: bool = False,
    ) -> None:
        self.detail = detail or (type(self).__doc__ or "").split("\n", 1)[0]
        self.param = param
        self.job_id = job_id
        self.upstream_status = upstream_status
        self.retry_after_seconds = retry_after_seconds
        self.usage = usage
        self.phases = phases
        self.may_have_run = may_have_run
        super().__init__(self.detail)


class RequestRejected(ProviderError):
    """The provider refused the request as it stands."""

    spends = False


class ModelNotFound(RequestRejected):
    """The provider does not know this model."""


class ContextTooLong(RequestRejected):
    """The input does not fit into the model's context."""


class ContentRefused(RequestRejected):
    """The provider refused the content."""


class CredentialsRejected(ProviderError):
    """The provider did not accept the gateway's credentials."""

    spends = False


class QuotaExhausted(ProviderError):
    """The gateway's account at the provider has no credit left."""

    spends = False


class RateLimited(ProviderError):
    """The provider asks to slow down."""

    retryable = True
    spends = False


class CapacityUnavailable(ProviderError):
    """The provider has no room for this request now."""

    retryable = True
    spends = False


class ModelLoading(ProviderError):
    """The model is being loaded; the request can be repeated."""

    retryable = True
    spends = False

    def __init__(
        self, detail: str | None = None, *, evidence: Evidence = "loading_reported", **known: Any
    ) -> None:
        self.evidence = evidence
        super().__init__(detail, **known)


class BootTimeout(ProviderError):
    """The cold start took longer than allowed."""

    retryable = True


class UpstreamTimeout(ProviderError):
    """The provider did not answer in time."""

    retryable = True


class UpstreamUnreachable(ProviderError):
    """The provider could not be reached."""

    retryable = True
    spends = False


class UpstreamFailed(ProviderError):
    """The provider failed to do the work."""

    retryable = True


class StreamInterrupted(ProviderError):
    """The answer broke off after it had begun."""


class ProviderRetired(ProviderError):
    """The provider has ended this service."""

    spends = False


class ProtocolViolation(ProviderError):
    """The provider's answer could not be understood."""
