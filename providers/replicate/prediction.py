"""A prediction as Replicate shows it, and what it says about seconds, starts and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, PrivateAttr, ValidationError

from providers.contract import Phases, ProtocolViolation, Usage

Start = Literal["warm", "cold", "unclear"]

# Reference; "aborted" (2025-10-16) stands only in /docs/topics/predictions/lifecycle.
ENDED: Mapping[str, Literal["succeeded", "failed", "cancelled"]] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "cancelled",
    "aborted": "cancelled",
}
UNDER_WAY = frozenset({"starting", "processing"})
# Reference: output is "automatically removed after an hour, by default".
KEPT = timedelta(hours=1)


class Prediction(BaseModel):
    """What one answer says. Only the id is needed: whatever else is odd, it can be cancelled."""

    id: str
    status: str = ""
    model: Any = None
    version: Any = None
    deployment: Any = None
    output: Any = None
    error: Any = None
    metrics: Any = None
    urls: Any = None
    created_at: Any = None
    started_at: Any = None
    completed_at: Any = None
    _seen_at: datetime | None = PrivateAttr(None)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def created(self) -> datetime | None:
        return moment(self.created_at)

    @property
    def started(self) -> datetime | None:
        """None as well where it would be after the end, as in 57 of the recorded predictions."""
        at, completed = moment(self.started_at), self.completed
        return None if at is not None and completed is not None and at > completed else at

    @property
    def completed(self) -> datetime | None:
        return moment(self.completed_at)

    @property
    def expires(self) -> datetime | None:
        """When its files go, at the earliest."""
        since = self.completed or self.started or self.created
        return None if since is None else since + KEPT

    @property
    def wait_seconds(self) -> float | None:
        """From creation until its model ran, queue and boot together; so far, if it still waits.

        All stamps are theirs. Clamped at 0: 317 of the 3,802 recorded predictions began up to 2.3 s
        before they were created.
        """
        if self.started is not None:
            return _seconds(self.created, self.started)
        if self.status == "succeeded":
            return None  # its stamp is missing, as in 6 of the recorded predictions, or wrong
        return _seconds(self.created, self.completed or self._seen_at)

    @property
    def execute_seconds(self) -> float | None:
        """How long its model ran: what is billed."""
        reported = number(self.metrics, "predict_time")
        if reported is not None:
            return reported
        if self.started is None and ENDED.get(self.status) == "cancelled":
            return 0.0
        return _seconds(self.started, self.completed)

    @property
    def usage(self) -> Usage | None:
        """Counts, where the model reports any; most do not."""
        counts = [
            None if (count := number(self.metrics, name)) is None else int(count)
            for name in ("input_token_count", "output_token_count", "image_count")
        ]
        if counts == [None, None, None]:
            return None
        return Usage(input_tokens=counts[0], output_tokens=counts[1], images=counts[2])

    def stream_url(self) -> str | None:
        url = self.urls.get("stream") if isinstance(self.urls, dict) else None
        return url if isinstance(url, str) else None

    def as_native(self) -> dict[str, Any]:
        """Their own words, without input and output: the unclamped stamps, every metric."""
        return self.model_dump(exclude={"output", "error", "urls", "model", "deployment"})


def parse(raw: bytes, seen_at: datetime | None) -> Prediction:
    """Read an answer that came at ``seen_at`` by their clock. Raises ProtocolViolation."""
    try:
        prediction = Prediction.model_validate_json(raw)
    except ValidationError:
        raise ProtocolViolation("Replicate's answer is no prediction.") from None
    prediction._seen_at = seen_at
    return prediction


@dataclass(frozen=True, slots=True)
class StartRule:
    """How long a start tells warm from cold; between the two nothing is claimed."""

    warm_below_seconds: float
    cold_after_seconds: float | None

    def start_of(self, wait_seconds: float | None) -> Start:
        if wait_seconds is not None:
            if wait_seconds < self.warm_below_seconds:
                return "warm"
            if self.cold_after_seconds is not None and wait_seconds >= self.cold_after_seconds:
                return "cold"
        return "unclear"

    def phases(self, prediction: Prediction) -> Phases:
        """What the stamps of a prediction that has ended say."""
        wait = prediction.wait_seconds
        start = self.start_of(wait)
        if start == "warm" and prediction.started is None:
            start = "unclear"  # it never began
        version = prediction.version
        return Phases(
            boot_seconds=0.0 if start == "warm" else None,
            wait_seconds=wait,
            waited_for_boot=True if start == "cold" else None,
            execute_seconds=prediction.execute_seconds,
            evidence=None if start == "unclear" else "timestamps_reported",
            # "hidden" is what official models say (SDK 2.0.0b4, types/prediction.py).
            revision=version if isinstance(version, str) and version != "hidden" else None,
        )


def moment(value: object) -> datetime | None:
    """An aware instant; None for what is absent or cannot be read. Nanoseconds are cut."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def number(metrics: object, name: str) -> float | None:
    """A metric; None where it is absent, negative or no number."""
    value = metrics.get(name) if isinstance(metrics, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return float(value)


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    if since is None or until is None:
        return None
    return max(0.0, (until - since).total_seconds())
