"""The HTTP face: wire shapes in, orders out; runs in, answers out. FastAPI lives here."""
