"""A batch of journal lines, folded to what the database has to be told. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Batch:
    """At most one entry an attempt in each of ``begun`` and ``ended``; both hold whole rows.

    Applied in the order of the fields, the result is that of the lines one by one.
    """

    begun: dict[str, dict[str, Any]] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    corrections: list[dict[str, Any]] = field(default_factory=list)
    charges: dict[str, dict[str, Any]] = field(default_factory=dict)


def fold(lines: Iterable[dict[str, Any]]) -> Batch:
    """Fold decoded lines, in their order."""
    batch = Batch()
    for said in lines:
        match said["kind"]:
            case "begin":
                row = said["attempt"]
                if row["attempt_id"] not in batch.ended:
                    batch.begun.setdefault(row["attempt_id"], row)
            case "end":
                row = said["attempt"]
                batch.begun.pop(row["attempt_id"], None)
                batch.accepted.pop(row["attempt_id"], None)
                batch.ended[row["attempt_id"]] = row
            case "accepted":
                if said["attempt_id"] not in batch.ended:
                    batch.accepted[said["attempt_id"]] = said["upstream_id"]
            case "correct":
                batch.corrections.append(said)
            case "charge":
                batch.charges.setdefault(said["charge"]["charge_id"], said["charge"])
    return batch
