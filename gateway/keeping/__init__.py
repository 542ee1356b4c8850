"""Keeping deployments warm: who decides, who acts, and what it has cost."""
