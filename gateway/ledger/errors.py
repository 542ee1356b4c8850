"""What can go wrong with the record, named by who must act."""

from __future__ import annotations


class LedgerUnavailable(Exception):
    """The gateway cannot record new work at the moment, so it takes none on."""

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or type(self).__doc__ or ""
        super().__init__(self.detail)


class BadQuery(ValueError):
    """A report was asked for in a way that has no answer; ``param`` names the parameter."""

    def __init__(self, param: str, message: str) -> None:
        self.param = param
        self.message = message
        super().__init__(message)


class StoreUnavailable(Exception):
    """The ledger's database cannot be read or written now: locked, full or away."""


class SchemaMismatch(Exception):
    """The ledger's database was written by another release of the gateway."""
