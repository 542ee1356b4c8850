"""Questions to the ledger, and their answers."""
