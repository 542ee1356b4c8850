"""Is every answer of the load in the ledger, once, ended, and at its price?

wrk cuts the requests that are in flight when its time is up: up to one per connection. The gateway
books those too, as cancelled or, where the upstream's answer was in before the cut was seen, as
succeeded. Hence ``answered <= succeeded <= answered + connections``. A lost row could hide among
those few, so the upstream counts as well: every call that reached it is an attempt, and an attempt
that did not reach it was cancelled before it was sent.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from tests.benchmarks.prerequisites import Broken

_SETTLE_TIMEOUT_SECONDS = 60
_SETTLE_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Booked:
    """Attempts by status, the money of the succeeded ones, and the calls the upstream counted."""

    attempts: dict[str, int]
    succeeded_usd: Decimal
    upstream_calls: int

    @property
    def total_attempts(self) -> int:
        return sum(self.attempts.values())

    def __sub__(self, before: Booked) -> Booked:
        statuses = self.attempts.keys() | before.attempts.keys()
        return Booked(
            attempts={
                status: self.attempts.get(status, 0) - before.attempts.get(status, 0)
                for status in sorted(statuses)
            },
            succeeded_usd=self.succeeded_usd - before.succeeded_usd,
            upstream_calls=self.upstream_calls - before.upstream_calls,
        )


@dataclass(frozen=True)
class LedgerReader:
    """Reads ``/v1/costs`` by status with a key that has the scope ``reports``."""

    port: int
    headers: dict[str, str]
    start_time: str
    count_upstream_calls: Callable[[], int]

    def gained_since(self, before: Booked, answered: int) -> Booked:
        """What was booked since, once all answers are in, nothing runs and readings agree.

        After a minute the last reading is given back as it is, for the check to complain about.
        """
        deadline = time.monotonic() + _SETTLE_TIMEOUT_SECONDS
        last = None
        while True:
            gained = self.read() - before
            complete = (
                gained.attempts.get("succeeded", 0) >= answered
                and gained.total_attempts >= gained.upstream_calls
            )
            if complete and gained == last and not gained.attempts.get("running"):
                return gained
            if time.monotonic() > deadline:
                return gained
            last = gained
            time.sleep(_SETTLE_POLL_SECONDS)

    def read(self) -> Booked:
        """The ledger once its database has caught up with its journal, or after a minute."""
        deadline = time.monotonic() + _SETTLE_TIMEOUT_SECONDS
        while True:
            answer = self._costs()
            if "as_of" not in answer or time.monotonic() > deadline:
                return _booked(answer, self.count_upstream_calls())

    def _costs(self) -> dict[str, Any]:
        query = urlencode({"start_time": self.start_time, "group_by": "status"})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", f"/v1/costs?{query}", headers=self.headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise Broken(f"GET /v1/costs answered {response.status}: {body[:500]!r}")
        try:
            answer: dict[str, Any] = json.loads(body)
        except ValueError as exc:
            raise Broken(f"GET /v1/costs is not JSON: {body[:500]!r}") from exc
        return answer


def _booked(answer: dict[str, Any], upstream_calls: int) -> Booked:
    try:
        rows = {row["group"]["status"]: row for row in answer["data"]}
        return Booked(
            attempts={status: row["attempts"] for status, row in rows.items()},
            succeeded_usd=Decimal(rows["succeeded"]["known_usd"] if "succeeded" in rows else 0),
            upstream_calls=upstream_calls,
        )
    except (ArithmeticError, LookupError, TypeError) as exc:
        raise Broken(f"GET /v1/costs is not as expected: {str(answer)[:500]}") from exc


@dataclass(frozen=True)
class LedgerCheck:
    """One run of the load held against what the ledger gained in it."""

    answered: int
    connections: int
    booked: Booked
    usd_per_answer: Decimal

    def complaints(self) -> list[str]:
        """What does not agree; empty when all does."""
        counts = dict(self.booked.attempts)
        succeeded = counts.pop("succeeded", 0)
        cut = counts.pop("cancelled", 0)
        found = []
        if not self.answered <= succeeded <= self.answered + self.connections:
            found.append(f"{self.answered} answers, but {succeeded} succeeded attempts")
        if cut > self.connections:
            found.append(f"{cut} cancelled attempts with {self.connections} connections")
        total, calls = self.booked.total_attempts, self.booked.upstream_calls
        if not total - cut <= calls <= total:
            found.append(f"the upstream was called {calls} times, but {total} attempts are booked")
        found += [f"{count} attempts are {status}" for status, count in counts.items() if count]
        if self.booked.succeeded_usd != succeeded * self.usd_per_answer:
            found.append(
                f"${self.booked.succeeded_usd} booked for {succeeded} answers "
                f"of ${self.usd_per_answer}"
            )
        return found
