"""The journal: what is written before anything else happens."""
