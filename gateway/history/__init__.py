"""History from elsewhere, as rows of the ledger: ``origin: imported``."""
