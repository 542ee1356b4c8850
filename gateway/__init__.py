"""Serverless inference gateway: one door, and the truth about cost and cold starts."""
