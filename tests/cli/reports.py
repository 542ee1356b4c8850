"""Every command that reports something, as it is asked for in tests."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Lived

Names = tuple[str, ...]

OTHERS: set[Names] = {
    ("serve",),
    ("generate",),  # its standard output is the answer
    *{("keys", word) for word in ("create", "rotate", "revoke")},
    *{("ledger", word) for word in ("backup", "export", "migrate", "prune")},
}
"""What does something, and reports nothing."""


def lines(lived: Lived, folder: Path) -> dict[Names, list[str]]:
    """What each report is asked with; those of another address are asked elsewhere."""
    where = ["--config", str(lived.config)]
    folder.mkdir(exist_ok=True)
    jobs = folder / "jobs.csv"
    jobs.write_text(
        "upstream_id,created_at,model,status,execute_seconds\n"
        "a,2026-11-01T10:00:00Z,m,succeeded,2\n",
        encoding="utf-8",
    )
    bill = folder / "bill.csv"
    bill.write_text("id,usd,begun\nx,0.5,2026-11-01T10:00:00Z\n", encoding="utf-8")
    own = ["--data-dir", str(folder / "own")]
    mapped = ["--map", "id=job_id", "--map", "usd=cost_usd", "--map", "begun=start_time"]
    return {
        ("check",): where,
        ("providers",): ["--presets"],
        ("costs",): ["--group-by", "deployment", "--group-by", "status", *where],
        ("operations",): where,
        ("charges",): where,
        ("cold-starts",): where,
        ("compare",): ["seconds", *where],
        ("estimate",): ["llama-3-8b", "--gpu", "l4", "--usd-per-hour", "0.80"],
        ("simulate",): ["--synthetic", "gpu", "--streams", "1", "--days", "2"],
        ("plan",): ["--price", "modal-t4", *where],
        ("keep-warm",): where,
        ("reconcile",): ["--provider", "scripted", "--bill", str(bill), *mapped, *where],
        ("reprice",): ["--since", "2026-01-01", *where],
        ("budgets",): where,
        ("warmth",): where,
        ("keys", "list"): where,
        ("prices",): ["--name", "modal", *where],
        ("prices", "explain"): [lived.ids["unpriced"], *where],
        ("ledger", "info"): where,
        ("ledger", "verify"): where,
        ("import", "csv"): [str(jobs), "--provider", "elsewhere", *own],
    }


ELSEWHERE: set[Names] = {
    *{("top",), ("prices", "fetch"), ("import", "replicate"), ("import", "modal")},
}
"""Reports that ask somebody else, or read what somebody else has written; see their own tests."""
