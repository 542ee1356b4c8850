"""Who is logged in: random ids in memory. A restart logs everybody out, and no key is kept."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

LIFETIME_SECONDS = 12 * 3600.0
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """One browser. ``digest`` is its key's SHA-256, ``csrf`` what its forms must carry."""

    digest: str
    csrf: str
    ends_at: float


class Sessions:
    """The sessions of this process; instants are monotonic seconds."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}
        self.keyless = Session("", secrets.token_urlsafe(32), float("inf"))
        """Stands for everybody while keys are off: a foreign page cannot read its token."""

    def begin(self, digest: str, now: float) -> str:
        """A new session's id. Beyond a thousand of them the oldest ends."""
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        session_id = secrets.token_urlsafe(32)
        self._open[session_id] = Session(digest, secrets.token_urlsafe(32), now + LIFETIME_SECONDS)
        return session_id

    def find(self, session_id: str, now: float) -> Session | None:
        """The session of that id, while it lasts."""
        session = self._open.get(session_id)
        if session is not None and now >= session.ends_at:
            del self._open[session_id]
            return None
        return session

    def end(self, session_id: str) -> None:
        """Log out."""
        self._open.pop(session_id, None)
