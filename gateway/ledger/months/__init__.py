"""Old months in files of their own, and older ledgers brought up to date."""
