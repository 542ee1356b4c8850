"""Money set aside and money spent, by account: what budgets stand on.

An account is one budget in one window, by name. A lease is money set aside for one attempt in all
of its accounts; at no moment do spent and leased money together exceed the limit of a claim.
Amounts are whole pico-USD. ``MemoryBook`` serves one process; a store that several processes share
can take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Claim:
    """An account, and the most that may be spent and set aside in it."""

    account: str
    limit_pico_usd: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds; ``unknown_attempts``: how many have no known cost."""

    spent_pico_usd: int
    reserved_pico_usd: int
    unknown_attempts: int


class Book(Protocol):
    """The accounts. Each call is atomic.

    ``open``, ``settle``, ``revise`` and ``close`` need not be done when they return, but are done
    in order. ``is_open`` is what this process has opened.
    """

    def open(self, account: str, spent_pico_usd: int, unknown_attempts: int) -> None:
        """Begin an account with what is known to be spent; one that is open stays as it is."""

    def is_open(self, account: str) -> bool:
        """Whether it has been opened."""

    async def reserve(
        self, lease: str, claims: Sequence[Claim], pico_usd: int, ttl_seconds: float
    ) -> str | None:
        """Set money aside in all accounts or in none; the account that has no room, else None.

        An account that is full takes no lease, not even one of 0.
        """

    async def renew(self, lease: str, pico_usd: int) -> str | None:
        """Raise a lease to ``pico_usd``; the account that has no room for it, else None."""

    def settle(self, lease: str, pico_usd: int, *, known: bool) -> None:
        """End a lease: what was set aside is free again, what was spent is booked."""

    def revise(self, account: str, pico_usd: int, unknown_attempts: int) -> None:
        """A later word on what was spent: the differences, which may be negative."""

    def expire(self) -> list[str]:
        """Book as spent, whole, what leases hold whose holder has not been heard of in time."""

    async def balance(self, account: str) -> Balance | None:
        """What it holds; None where it is not open."""

    def close(self, account: str) -> None:
        """Forget an account that has no lease; one that has stays."""


@dataclass(slots=True)
class _Account:
    spent: int
    unknown: int
    reserved: int = 0
    leases: int = 0


@dataclass(slots=True)
class _Lease:
    claims: Sequence[Claim]
    accounts: list[_Account]
    pico_usd: int
    expires_at: float
    expired: bool = False


class MemoryBook:
    """A book for the one event loop of one process: nothing in it waits, so nothing interleaves.

    ``monotonic`` gives seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._accounts: dict[str, _Account] = {}
        self._leases: dict[str, _Lease] = {}

    def open(self, account: str, spent_pico_usd: int, unknown_attempts: int) -> None:
        """See ``Book``."""
        self._accounts.setdefault(account, _Account(spent_pico_usd, unknown_attempts))

    def is_open(self, account: str) -> bool:
        """See ``Book``."""
        return account in self._accounts

    async def reserve(
        self, lease: str, claims: Sequence[Claim], pico_usd: int, ttl_seconds: float
    ) -> str | None:
        """See ``Book``."""
        accounts = [self._accounts[claim.account] for claim in claims]
        for claim, account in zip(claims, accounts, strict=True):
            # One pico-dollar must be left even for what costs nothing: full is full.
            if account.spent + account.reserved + max(pico_usd, 1) > claim.limit_pico_usd:
                return claim.account
        for account in accounts:
            account.reserved += pico_usd
            account.leases += 1
        expires_at = self._monotonic() + ttl_seconds
        self._leases[lease] = _Lease(claims, accounts, pico_usd, expires_at)
        return None

    async def renew(self, lease: str, pico_usd: int) -> str | None:
        """See ``Book``."""
        held = self._leases[lease]
        if held.expired:
            return held.claims[0].account
        more = pico_usd - held.pico_usd
        for claim, account in zip(held.claims, held.accounts, strict=True):
            if account.spent + account.reserved + more > claim.limit_pico_usd:
                return claim.account
        for account in held.accounts:
            account.reserved += more
        held.pico_usd = pico_usd
        return None

    def settle(self, lease: str, pico_usd: int, *, known: bool) -> None:
        """See ``Book``."""
        held = self._leases.pop(lease)
        for account in held.accounts:
            if held.expired:  # it was given up too early: take back what was booked for it
                account.spent -= held.pico_usd
                account.unknown -= 1
            else:
                account.reserved -= held.pico_usd
            account.spent += pico_usd
            account.unknown += not known
            account.leases -= 1

    def revise(self, account: str, pico_usd: int, unknown_attempts: int) -> None:
        """See ``Book``."""
        found = self._accounts[account]
        found.spent += pico_usd
        found.unknown += unknown_attempts

    def expire(self) -> list[str]:
        """See ``Book``."""
        now = self._monotonic()
        late = [
            name
            for name, lease in self._leases.items()
            if lease.expires_at <= now and not lease.expired
        ]
        for name in late:
            lease = self._leases[name]
            lease.expired = True
            for account in lease.accounts:
                account.reserved -= lease.pico_usd
                account.spent += lease.pico_usd
                account.unknown += 1
        return late

    async def balance(self, account: str) -> Balance | None:
        """See ``Book``."""
        found = self._accounts.get(account)
        return None if found is None else Balance(found.spent, found.reserved, found.unknown)

    def close(self, account: str) -> None:
        """See ``Book``."""
        found = self._accounts.get(account)
        if found is not None and not found.leases:
            del self._accounts[account]
