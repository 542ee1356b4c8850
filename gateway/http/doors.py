"""Who gets in: the Host and Origin doors, and keys with scopes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.http.errors import HttpError
from gateway.limits.keystore import StoredKey
from gateway.limits.rates import Kind, Rate
from gateway.registry import WEBHOOKS_PATH
from gateway.settings import KeySettings, RateLimitSettings, Settings, is_loopback
from gateway.settings import Scope as KeyScope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``key_id`` None: keys are switched off, and this machine alone can call.

    ``models`` None: all of them. ``rates``: what it may ask for in a minute, by itself and with
    all others together.
    """

    key_id: str | None
    scopes: frozenset[KeyScope]
    models: frozenset[str] | None = None
    expires_at_us: int | None = None
    rates: tuple[Rate, ...] = ()

    def may(self, scope: KeyScope) -> bool:
        """Whether the caller holds a scope; ``admin`` holds all."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def sees_only(self) -> str | None:
        """The key whose operations alone may be seen; None: all of them."""
        return None if self.may("reports") else self.key_id


ANYBODY = Caller(None, frozenset({"admin"}))


class Keyring:
    """The accepted keys, by hash. An empty ring lets everybody in (loopback only, see doors).

    Those of the configuration are for ever; those of the key store are replaced as a whole.
    ``rates`` are those of all callers together, ``wall_us`` is the clock that keys expire by.
    """

    def __init__(
        self,
        keys: Iterable[KeySettings],
        *,
        required: bool,
        wall_us: Callable[[], int],
        rates: RateLimitSettings,
    ) -> None:
        self._wall_us = wall_us
        self._common = _rates("", rates)
        self._configured = {key.sha256: self._caller(key) for key in keys}
        self._callers = self._configured
        self._anybody = replace(ANYBODY, rates=self._common)
        self.required = required

    @property
    def configured(self) -> frozenset[str]:
        """Names of the keys that stand in the configuration."""
        return frozenset(caller.key_id for caller in self._configured.values() if caller.key_id)

    def set_stored(self, keys: Iterable[StoredKey]) -> None:
        """Take over what the key store holds now; a name of the configuration stays that one's."""
        callers: dict[str, Caller] = {}
        for key in keys:
            if key.revoked_at_us is not None or key.name in self.configured:
                continue
            caller = callers[key.settings.sha256] = self._caller(key.settings)
            if key.old_sha256 is not None and key.old_until_us is not None:
                until_us = min(key.old_until_us, caller.expires_at_us or key.old_until_us)
                callers[key.old_sha256] = replace(caller, expires_at_us=until_us)
        self._callers = {**callers, **self._configured}

    def admit(self, headers: Headers, *scopes: KeyScope) -> Caller:
        """The caller behind a request, who holds one of ``scopes``. Raises HttpError 401 or 403."""
        if not self.required:
            return self._anybody
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise HttpError(401, "missing_api_key", "Send a key: Authorization: Bearer <key>.")
        return self.holder(digest_of(secret), *scopes)

    def holder(self, digest: str, *scopes: KeyScope) -> Caller:
        """As ``admit``, for whoever came in with the key of this SHA-256 before."""
        if not self.required:
            return self._anybody
        caller = self._callers.get(digest)
        if caller is None:
            raise HttpError(401, "invalid_api_key", "This key is not known here.")
        if caller.expires_at_us is not None and self._wall_us() >= caller.expires_at_us:
            raise HttpError(401, "api_key_expired", "This key has expired; ask for another one.")
        for scope in scopes:
            if caller.may(scope):
                return caller
        raise HttpError(403, "missing_scope", f"This key lacks the scope {' or '.join(scopes)}.")

    def _caller(self, key: KeySettings) -> Caller:
        expires_at = key.expires_at
        return Caller(
            key.name,
            key.scopes,
            key.models,
            None if expires_at is None else round(expires_at.timestamp() * 1_000_000),
            (*_rates(key.name, key), *self._common),
        )


def _rates(whose: str, limits: KeySettings | RateLimitSettings) -> tuple[Rate, ...]:
    given: Sequence[tuple[Kind, int | None]] = (
        ("requests", limits.requests_per_minute),
        ("tokens", limits.tokens_per_minute),
    )
    return tuple(Rate(whose, kind, many) for kind, many in given if many is not None)


def digest_of(secret: str) -> str:
    """The SHA-256 of a key, in hex: all that is ever kept of one."""
    return hashlib.sha256(secret.strip().encode("utf-8", "replace")).hexdigest()


class Doors:
    """Without keys, only programs of this machine may come in.

    A web page must not spend money, so a foreign ``Origin`` is refused; nor may a name that was
    rebound to this address, so the ``Host`` must be a loopback name or one that is allowed. A proxy
    or tunnel that puts a local name in its place says in ``X-Forwarded-Host`` what it was. Signed
    messages of providers come by the gateway's name in the world: the signature is their door.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys_guard = settings.needs_keys
        self._hosts = frozenset(host.lower() for host in settings.server.allowed_hosts)

    def refusal(self, scope: Scope) -> HttpError | None:
        """Why an HTTP request may not come in, or None."""
        if self._keys_guard:
            return None
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        forwarded = headers.getlist("x-forwarded-host")
        names = [host, *",".join(forwarded).split(",")] if forwarded else [host]
        if not all(map(self._is_local, names)) and not _is_signed(scope):
            return HttpError(403, "host_not_allowed", "Without keys, only local names are served.")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return HttpError(403, "origin_not_allowed", "Without keys, web pages may not call.")
        if headers.get("sec-fetch-site") == "cross-site":
            return HttpError(403, "origin_not_allowed", "Without keys, web pages may not call.")
        return None

    def _is_local(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host.strip()}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or name in self._hosts


def _is_signed(scope: Scope) -> bool:
    """Whether it goes where nothing is done without a signature."""
    path: str = scope["path"]
    return scope["method"] == "POST" and path.startswith(f"{WEBHOOKS_PATH}/")
