"""Who gets in: the Host and Origin doors, and keys with scopes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.http.errors import HttpError
from gateway.settings import KeySettings, Settings, is_loopback
from gateway.settings import Scope as KeyScope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``key_id`` None: keys are switched off, and this machine alone can call."""

    key_id: str | None
    scopes: frozenset[KeyScope]

    def may(self, scope: KeyScope) -> bool:
        """Whether the caller holds a scope; ``admin`` holds all."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def sees_only(self) -> str | None:
        """The key whose operations alone may be seen; None: all of them."""
        return None if self.may("reports") else self.key_id


ANYBODY = Caller(None, frozenset({"admin"}))


class Keyring:
    """The accepted keys, by hash. An empty ring lets everybody in (loopback only, see doors)."""

    def __init__(self, keys: Iterable[KeySettings], *, required: bool) -> None:
        self._callers = {key.sha256: Caller(key.name, key.scopes) for key in keys}
        self._required = required

    def admit(self, headers: Headers, *scopes: KeyScope) -> Caller:
        """The caller behind a request, who holds one of ``scopes``. Raises HttpError 401 or 403."""
        if not self._required:
            return ANYBODY
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise HttpError(401, "missing_api_key", "Send a key: Authorization: Bearer <key>.")
        digest = hashlib.sha256(secret.strip().encode("utf-8", "replace")).hexdigest()
        caller = self._callers.get(digest)
        if caller is None:
            raise HttpError(401, "invalid_api_key", "This key is not known here.")
        for scope in scopes:
            if caller.may(scope):
                return caller
        raise HttpError(403, "missing_scope", f"This key lacks the scope {' or '.join(scopes)}.")


class Doors:
    """Without keys, only programs of this machine may come in.

    A web page must not spend money, so a foreign ``Origin`` is refused; nor may a name that was
    rebound to this address, so the ``Host`` must be a loopback name or one that is allowed.
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
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if not (is_loopback(name) or name in self._hosts):
            return HttpError(403, "host_not_allowed", "Without keys, only local names are served.")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return HttpError(403, "origin_not_allowed", "Without keys, web pages may not call.")
        if headers.get("sec-fetch-site") == "cross-site":
            return HttpError(403, "origin_not_allowed", "Without keys, web pages may not call.")
        return None
