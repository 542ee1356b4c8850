"""The whole run: starts what the chosen sections need, measures, prints, writes the JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import answers, nginx, peers
from tests.benchmarks.aims import memory_aims, request_aims, startup_aims, stream_aims
from tests.benchmarks.gateway import running_gateway, usd_per_answer
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.memory import measure_memory
from tests.benchmarks.options import MEMORY, REQUESTS, STARTUP, STREAMS, Options
from tests.benchmarks.prerequisites import FAILURES, Missing, require_programs
from tests.benchmarks.report import Section, load_section, memory_section, startup_section
from tests.benchmarks.rounds import Pace, Workload, run_rounds
from tests.benchmarks.startup import measure_startup
from tests.benchmarks.targets import GATEWAY, LITELLM, NGINX, PEERS, PORTKEY, Target, nginx_target


def run(chosen: Options) -> int:
    """Exit status: 0 measured, 1 something broke, 2 a program is missing."""
    suite = Suite(chosen)
    machine = describe_machine()
    _say("\n".join(f"{name}: {value}" for name, value in machine.items()))
    try:
        suite.measure()
    except Missing as exc:
        print(f"cannot measure: {exc}", file=sys.stderr)
        return 2
    if chosen.json_file:
        sections = {section.name: section.as_json() for section in suite.sections}
        document = {
            "machine": machine,
            "sections": sections,
            "notes": suite.notes,
            "problems": suite.problems,
        }
        chosen.json_file.write_text(json.dumps(document, indent=2) + "\n")
    for problem in suite.problems:
        _say(f"\nBROKEN {problem}")
    return 1 if suite.problems else 0


def _say(text: str) -> None:
    # At once, so that a long run can be followed through a pipe.
    print(text, flush=True)


@dataclass
class Suite:
    """One run: its sections as they are finished, and what went wrong on the way."""

    chosen: Options
    sections: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def measure(self) -> None:
        """Each chosen section in turn; what breaks in one does not stop the next.

        Raises Missing, before anything is started, when nginx or wrk is needed and not there.
        """
        only = set(self.chosen.only)
        programs = require_programs("nginx", "wrk") if only - {STARTUP} else {}
        with tempfile.TemporaryDirectory(prefix="gateway-benchmark-") as folder:
            scratch = Path(folder)
            if STARTUP in only:
                with self._noting(STARTUP):
                    result = measure_startup(self.chosen.startup_runs, scratch)
                    self._add(startup_section(result, startup_aims(result)))
            if MEMORY in only:
                with self._noting(MEMORY), ExitStack() as stack:
                    self._measure_memory(stack, programs, scratch / "memory")
            if only & {REQUESTS, STREAMS}:
                with self._noting("load"), ExitStack() as stack:
                    self._measure_load(stack, programs, scratch / "load")

    def _measure_memory(self, stack: ExitStack, programs: dict[str, str], scratch: Path) -> None:
        upstream = stack.enter_context(
            nginx.running_upstream(programs["nginx"], scratch / "upstream")
        )
        target = stack.enter_context(running_gateway(upstream.url, scratch / "gateway"))
        pace = self._pace(programs, scratch)
        points = measure_memory(target, pace, self.chosen.memory_requests)
        self._add(memory_section(points, memory_aims(points)))

    def _measure_load(self, stack: ExitStack, programs: dict[str, str], scratch: Path) -> None:
        upstream = stack.enter_context(
            nginx.running_upstream(programs["nginx"], scratch / "upstream")
        )
        targets = self._start_targets(stack, programs, upstream, scratch)
        pace = self._pace(programs, scratch)
        how = (
            f"{pace.connections} connections, medians of {pace.rounds} interleaved rounds "
            f"of {pace.round_seconds} s"
        )
        if REQUESTS in self.chosen.only:
            workload = Workload(
                lambda target: target.completion, usd_per_answer(answers.OUTPUT_TOKENS)
            )
            records = run_rounds(targets, workload, pace, self._complain)
            heading = f"requests: small chat completions, {how}"
            self._add(load_section(REQUESTS, heading, records, request_aims(records), 1))
        if STREAMS in self.chosen.only:
            workload = Workload(
                lambda target: target.stream, usd_per_answer(answers.STREAM_OUTPUT_TOKENS)
            )
            records = run_rounds(targets, workload, pace, self._complain)
            events = answers.EVENTS_PER_STREAM
            heading = f"streams: bursts of {events} events, {how}"
            aims = stream_aims(records, events)
            self._add(load_section(STREAMS, heading, records, aims, events))

    def _start_targets(
        self, stack: ExitStack, programs: dict[str, str], upstream: nginx.Nginx, scratch: Path
    ) -> list[Target]:
        targets = []
        if NGINX in self.chosen.targets:
            with self._noting(NGINX):
                proxy = nginx.running_proxy(programs["nginx"], upstream, scratch / NGINX)
                targets.append(nginx_target(stack.enter_context(proxy)))
        if GATEWAY in self.chosen.targets:
            with self._noting(GATEWAY):
                server = running_gateway(
                    upstream.url, scratch / GATEWAY, nginx.CallCounter(upstream)
                )
                targets.append(stack.enter_context(server))
        if self.chosen.peers:
            with self._noting(LITELLM):
                litellm = peers.litellm_command(self.chosen.litellm_python)
                server = peers.running_litellm(litellm, upstream.url, scratch / LITELLM)
                targets.append(stack.enter_context(server))
            with self._noting(PORTKEY):
                portkey = peers.portkey_command(self.chosen.portkey_dir)
                server = peers.running_portkey(portkey, upstream.url, scratch / PORTKEY)
                targets.append(stack.enter_context(server))
        return targets

    def _pace(self, programs: dict[str, str], scratch: Path) -> Pace:
        return Pace(
            wrk=programs["wrk"],
            connections=self.chosen.connections,
            rounds=self.chosen.rounds,
            round_seconds=self.chosen.round_seconds,
            warm_up_seconds=self.chosen.warm_up_seconds,
            scratch=scratch,
        )

    def _add(self, section: Section) -> None:
        self.sections.append(section)
        _say(section.text())

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        try:
            yield
        except FAILURES as exc:
            self._complain(name, str(exc))

    def _complain(self, name: str, text: str) -> None:
        # Another gateway's fault is worth telling, but it breaks nothing of ours.
        if name in PEERS:
            self.notes.append(f"{name}: {text}")
            _say(f"\nnot measured: {name}: {text}")
        else:
            self.problems.append(f"{name}: {text}")
