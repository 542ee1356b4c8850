"""From what a function gives out, item by item, to events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from providers.contract import (
    Booting,
    Event,
    Finished,
    Output,
    Phases,
    ProtocolViolation,
    Started,
    Usage,
)
from providers.modal.evidence import Containers, with_report
from providers.modal.report import NOTHING, Report, split
from providers.toolkit.mapping import OutputRule, output_events


class Answer:
    """One attempt's answer; ``opening`` is what was said of it before the call.

    ``streamed``: the items are pieces of one answer, and a report that comes first was made when
    work began.
    """

    def __init__(
        self,
        rule: OutputRule,
        containers: Containers,
        opening: Booting | Started | None,
        *,
        streamed: bool,
    ) -> None:
        self._rule = rule
        self._containers = containers
        self._mark = containers.mark()
        self._opening = opening
        self._streamed = streamed
        self._items = 0
        self._outputs = 0
        self._began: Report | None = None
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._execute_seconds: float | None = None

    @property
    def usage(self) -> Usage | None:
        """What was used, as far as the function has said it."""
        return self._usage

    def take(self, item: Any) -> Iterator[Event]:
        """The events of one item. Raises the error that the function reports in it."""
        report, value = split(item)
        first, self._items = self._items == 0, self._items + 1
        if report is not None:
            self._note(report, first)
        if self._streamed and first and not isinstance(self._opening, Started):
            if report is not None or self._opening is not None:
                yield Started(instance_id=report.instance_id if report is not None else None)
        if report is not None and report.error is not None:
            raise report.error.error()
        if value is not NOTHING:
            yield from self._outputs_of(value)

    def phases(self, said: Phases | None = None) -> Phases | None:
        """Where the time went: what Modal ``said``, completed by the function."""
        phases = with_report(said or Phases(), self._began, self._containers, self._mark)
        if phases.execute_seconds is None and self._execute_seconds is not None:
            phases = replace(phases, execute_seconds=self._execute_seconds)
        if isinstance(self._opening, Booting) and not phases.boot_seconds:
            phases = self._booted(phases)
        return None if phases == Phases() else phases

    def _booted(self, phases: Phases) -> Phases:
        """A boot was announced, and nobody has said how long it took.

        The gateway would take it to last until the first output, so what is left to say must
        not hold the same seconds again.
        """
        if self._streamed:  # its begin is announced in time
            return replace(phases, boot_seconds=None, evidence=None)
        if phases.wait_seconds is None:
            return replace(phases, boot_seconds=None, evidence=None, execute_seconds=None)
        return replace(phases, boot_seconds=phases.wait_seconds, evidence="scale_state")

    def finished(self, phases: Phases | None) -> Finished:
        """The end of a complete answer."""
        reasons = (self._reason,) if self._reason is not None else ()
        return Finished(reasons, self._usage, phases)

    def _note(self, report: Report, first: bool) -> None:
        if first:
            self._began = report
        if report.usage is not None:
            self._usage = report.usage.usage()
        if report.finish_reason is not None:
            self._reason = report.finish_reason
        if report.execute_seconds is not None:
            self._execute_seconds = report.execute_seconds

    def _outputs_of(self, value: Any) -> Iterator[Event]:
        rule = self._rule
        if self._streamed and rule == "auto" and isinstance(value, str):
            rule = "text"  # a piece of a text, even where it looks like an address
        for event in output_events(rule, value):
            if isinstance(event, Output):
                _check_json(event)
                if self._streamed:
                    event = replace(event, index=self._outputs)
                self._outputs += 1
            elif not event.text:
                continue
            yield event


def _check_json(output: Output) -> None:
    if output.value is None:
        return
    try:
        orjson.dumps(output.value)
    except (orjson.JSONEncodeError, RecursionError):
        raise ProtocolViolation(
            "The function's answer is neither text nor bytes, and cannot be written as JSON."
        ) from None
