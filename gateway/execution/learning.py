"""What an attempt that is booked teaches of its deployment, for estimates and keeping warm."""

from __future__ import annotations

from gateway.accounting.settle import Observed
from gateway.accounting.timeline import Timeline
from gateway.ledger.rows import AttemptRow
from gateway.registry import Target


def learn(target: Target, row: AttemptRow, observed: Observed, *, in_pieces: bool) -> None:
    """What the deployment usually does. ``in_pieces``: the attempt showed its output as it came."""
    if target.keeper is not None and not observed.sent:
        target.keeper.called_off()
    elif target.keeper is not None:
        target.keeper.ended(_joined_until_us(row, observed.timeline))
    if row.status != "succeeded":
        return
    target.usual.observe(
        output_tokens=row.output_tokens,
        execute_seconds=row.execute_seconds,
        first_output_seconds=None if row.verdict == "cold" else row.first_output_seconds,
        in_pieces=in_pieces,
    )
    usage = observed.usage
    if usage is not None:
        if usage.input_tokens is not None:
            target.estimator.observe(observed.input_bytes, usage.input_tokens)
        if usage.output_tokens is not None:
            target.estimator.observe(observed.output_bytes, usage.output_tokens)


def _joined_until_us(row: AttemptRow, timeline: Timeline) -> int | None:
    """When the boot was over that it waited for and had not caused; None: there was none."""
    booting, began = timeline.booting, timeline.working_since
    if booting is None or booting.caused_boot is not False or began is None:
        return None
    return row.begun_at_us + round((began - timeline.begun_at) * 1e6)
