"""From the course of an attempt to its bill: one way, while it runs and when it has ended."""

from __future__ import annotations

import logging
from copy import copy
from dataclasses import dataclass, replace

from gateway.accounting.boot_shares import Carried
from gateway.accounting.metering import believable
from gateway.accounting.prices import PriceRow
from gateway.accounting.settle import Observed, settle, settle_unknown
from gateway.accounting.timeline import Timeline
from gateway.errors import OperationCancelled
from gateway.execution.course import Course, Failure
from gateway.execution.learning import learn
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.rows import AttemptRow
from gateway.limits.hold import Hold
from providers.contract import ProviderError, StreamInterrupted

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ends ``at`` an instant (monotonic); ``failure`` None: with its whole answer.

    ``cut_short``: the gateway ends it (a cancellation, a deadline, a lost race), not the provider.
    """

    at: float
    failure: Failure | None
    cut_short: bool


def if_it_ended(course: Course, at: float) -> AttemptRow:
    """The row of an attempt that runs, with the bill that it would have if it were ended now.

    It changes nothing: neither of the attempt nor of what others are billed.
    """
    row, target = replace(course.row), course.target
    whole = course.finished is not None
    ending = Ending(at, None if whole else OperationCancelled(), not whole)
    price, boots = _price(course), target.boots
    seen = _observed(
        course, copy(course.timeline), ending, price, None if boots is None else boots.rest
    )
    _bill(row, seen, price, course)
    if course.held is not None:
        course.held.book(row)
    return row


def book(
    course: Course, hold: Hold | None, failure: Failure | None, *, cut_short: bool
) -> Failure | None:
    """Close the books of an attempt; returns the failure as its caller should see it."""
    operation, target, row = course.operation, course.target, course.row
    at = operation.clock.monotonic()
    course.stop_sharing(at, keep=True)
    target.running -= 1
    target.last_ended_at = at
    price, boots = _price(course), target.boots
    seen = _observed(
        course,
        course.timeline,
        Ending(at, failure, cut_short or course.lost),
        price,
        None if boots is None else boots.take,
    )
    worked = (seen.spends and seen.sent) or seen.timeline.work_began
    course.worked = worked or course.leaves_it_up
    course.boots_on_seconds = seen.boot_left_seconds or 0.0
    failure = _as_shown(course, failure, seen)
    row.completed_at_us = row.begun_at_us + round((at - seen.timeline.begun_at) * 1e6)
    if operation.unattended_since is not None:
        since = max(operation.unattended_since, seen.timeline.begun_at)
        row.unattended_seconds = round(max(0.0, at - since), 6)
    strange = _bill(row, seen, price, course)
    if strange is not None:
        logger.error("attempt %s cannot be settled", row.attempt_id, exc_info=strange)
    if course.held is not None:
        course.held.booked = course.held.book(row)
    now = operation.clock.monotonic()
    row.gateway_seconds = round((row.gateway_seconds or 0.0) + (now - at), 6)
    operation.idle_since = now
    try:
        operation.journal.end(row)
    except TypeError:  # nothing has been written: some value of the adapter's is no JSON
        logger.exception("attempt %s cannot be written down as it is", row.attempt_id)
        settle_unknown(row, words=True)
        operation.journal.end(row)
    if hold is not None:
        hold.settle()
    if failure is None:
        assert course.finished is not None
        operation.finished = course.finished
        operation.log.append(at, row.attempt_id, course.finished)
    try:
        learn(target, row, seen, in_pieces=course.in_pieces)
    except Exception:
        # It is booked and answered: neither is lost for what could not be learnt.
        logger.exception("nothing was learnt from attempt %s", row.attempt_id)
    return failure


def _price(course: Course) -> PriceRow | None:
    tariff = course.target.tariff
    return None if tariff is None else tariff.at(course.row.begun_at_us)


def _observed(
    course: Course,
    timeline: Timeline,
    ending: Ending,
    price: PriceRow | None,
    boots: Carried | None,
) -> Observed:
    """What is billed of a course with this ending; ``timeline`` is ended with it."""
    operation, target, failure = course.operation, course.target, ending.failure
    # Without a sure record of its begin the provider was not asked.
    usage, spends = course.usage, not isinstance(failure, LedgerUnavailable)
    goes_on = ending.cut_short and course.sent and not course.cancels
    if isinstance(failure, ProviderError):
        usage = usage or believable(failure.usage)
        spends = failure.spends
        goes_on = goes_on or failure.may_have_run
        timeline.end(ending.at, failure.phases)
    else:
        timeline.end(ending.at)
    most_seconds = target.timeouts.total_seconds
    shared = price is not None and price.shared and timeline.work_began
    return Observed(
        timeline,
        usage,
        input_bytes=operation.order.input_bytes,
        output_bytes=course.answer.text_bytes,
        images=course.answer.images,
        # One that is called off while its call is being closed had its whole answer.
        complete=course.finished is not None and (failure is None or ending.cut_short),
        boot_limit_seconds=target.timeouts.boot_seconds,
        boot_left_seconds=course.boot_left_seconds(timeline),
        boot_ended=course.boot_ended,
        spends=spends,
        sent=course.sent,
        share_seconds=course.share_seconds_until(ending.at) if shared else None,
        goes_on_seconds=most_seconds if goes_on else None,
        unsaid_seconds=most_seconds if spends and _unsaid(course, timeline) else None,
        boots=boots,
    )


def _unsaid(course: Course, timeline: Timeline) -> bool:
    """Whether the provider still owes its account of the seconds that it bills."""
    phases = timeline.phases
    said = phases is not None and phases.execute_seconds is not None
    return course.target.deployment.capabilities.reports_seconds and course.sent and not said


def _bill(
    row: AttemptRow, seen: Observed, price: PriceRow | None, course: Course
) -> Exception | None:
    """Fill in verdict, counts and cost; returns what was strange, and then nothing is known.

    Strange figures of an adapter must cost neither the answer nor the row.
    """
    try:
        settle(row, seen, price, course.target.estimator)
    except Exception as error:
        settle_unknown(row)
        return error
    return None


def _as_shown(course: Course, failure: Failure | None, seen: Observed) -> Failure | None:
    """Fill in how it ended; returns the failure that the caller is shown."""
    row = course.row
    if isinstance(failure, ProviderError):
        row.upstream_id = row.upstream_id or failure.job_id
        if seen.timeline.has_output and not isinstance(failure, StreamInterrupted):
            interrupted = StreamInterrupted(usage=seen.usage, phases=failure.phases)
            interrupted.__cause__ = failure
            failure = interrupted
    if course.lost:
        row.status = "lost_hedge"
        return OperationCancelled()
    if failure is None:
        assert course.finished is not None
        row.status = "succeeded"
        row.finish_reason = next(iter(course.finished.reasons), None)
    elif isinstance(failure, OperationCancelled):
        row.status = "cancelled"
    else:
        row.status, row.error_type = "failed", type(failure).__name__
    return failure
