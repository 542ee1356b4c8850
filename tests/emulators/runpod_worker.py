"""RunPod's control plane with the real worker behind it: ``runpod`` 1.12.0, as a process.

Ids, the queue and the clock are the emulator's; what runs a job, and for how long, is the worker's
own doing. It takes jobs (``job-take``), sends pieces and results (``job-stream``, ``job-done``) and
asks which jobs to stop (``job-stop``), by the addresses that RunPod gives it in its environment
(``serverless/modules/rp_job.py``, ``rp_http.py`` and ``rp_scale.py``, read 2026-11-26).

One worker, scaled to zero: started for the first job, ended after the idle timeout.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.emulators.runpod import RunPod
from tests.emulators.runpod_world import Handler, Made, Worker, World

NAME = "on-worker"
FOREVER = datetime(9000, 1, 1, tzinfo=UTC)
HOLD_SECONDS = 5.0  # a question for a job, or for what to stop, is held so long
PYTHON_VARIABLE = "RUNPOD_PYTHON"


def python_with_sdk() -> str | None:
    """A Python that has the ``runpod`` package: this one, or the one that the variable names."""
    if importlib.util.find_spec("runpod") is not None:
        return sys.executable
    return os.environ.get(PYTHON_VARIABLE)


NO_SDK = (
    "needs the package runpod 1.12.0, which is no dependency (105 packages, 215 MB): install it "
    f"into an environment of its own and name its Python in {PYTHON_VARIABLE}"
)


class Process:
    """The worker as a process of its own, in ``folder``."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.python = python
        self.boots = 0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("runpod_handler.py"), folder / "handler.py")

    @property
    def up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What the worker wrote, over all its boots."""
        return (self.folder / "log").read_text()

    def start(self, url: str, worker_id: str) -> None:
        self.boots += 1
        jobs = f"{url}/v2/{NAME}"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.python, "handler.py"],
                cwd=self.folder,
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "HOME": str(self.folder),
                    "RUNPOD_POD_ID": worker_id,
                    "RUNPOD_WEBHOOK_GET_JOB": f"{jobs}/job-take/$ID?gpu=none",
                    "RUNPOD_WEBHOOK_POST_OUTPUT": f"{jobs}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
                    "RUNPOD_WEBHOOK_POST_STREAM": f"{jobs}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self) -> None:
        """End it; nothing happens where it is not up. Its long polls make a polite end slow."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass(slots=True)
class RealMade(Made):
    """A job that is really run. ``said`` is the worker's last word on it, as it came."""

    said: dict[str, Any] = field(default_factory=dict)

    def piece_at(self, index: int) -> datetime:
        return self.created  # a piece that is known has come


class RealWorld(World):
    """One worker on the real clock, which ``advance`` sets forward for idle time."""

    def __init__(self, process: Process) -> None:
        super().__init__(scale=1.0)
        self.process = process
        self.url = ""
        self.queue: list[RealMade] = []
        self.to_stop: list[str] = []
        self._ahead = timedelta(0)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)
        place = self.places[NAME]
        if place.workers and not self.live(place):
            self.process.end()

    def make(self, name: str, given: Any, policy: Mapping[str, Any]) -> Made:
        place, now = self.places[name], self.now
        live, cold = self.live(place), False
        if not live:
            cold = True
            live = [Worker(f"pod{self.process.boots}k3q9dz1", now, FOREVER, FOREVER)]
            place.workers += live
            self.process.start(self.url, live[0].id)
        made = RealMade(
            id=f"{len(self.made):08x}-6a92-4bb8-a911-f996ac5ea99d-u1",
            place=name,
            handler=replace(place.handler, pieces=()),
            input=given,
            policy=policy,
            created=now.replace(microsecond=now.microsecond // 1000 * 1000),
            started=None,
            completed=FOREVER,
            status="COMPLETED",
            worker=live[0],
            cold=cold,
            caused_boot=cold,
            queue_seconds=0.0,
            boot_seconds=0.0,
        )
        self.made[made.id] = made
        self.queue.append(made)
        return made

    def cancel(self, made: Made) -> None:
        assert isinstance(made, RealMade)
        if made.completed != FOREVER:
            return
        if made in self.queue:
            self.queue.remove(made)
        else:
            self.to_stop.append(made.id)
        self.end(made, "CANCELLED")

    def end(self, made: Made, status: str) -> None:
        made.status, made.completed = status, self.now
        made.worker.free_at = made.completed


class RunPodOnWorker(RunPod):
    """The emulator, whose one endpoint ``NAME`` is really run."""

    def __init__(self, process: Process) -> None:
        self.real = RealWorld(process)
        super().__init__(self.real)
        self.endpoint(NAME, Handler(pieces=()), maximum=1, idle_timeout=5)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.real.url = self.url
        parts = scope["path"].split("/")
        asked = {
            "job-take": self.take,
            "job-take-batch": self.take,  # asked by a handler that takes several at a time
            "job-done": self.done,
            "job-stream": self.piece,
            "job-stop": self.stop,
        }.get(parts[3] if len(parts) > 3 else "")
        if asked is None:
            await super().__call__(scope, receive, send)
            return
        answer = await asked(Request(scope, receive), parts)
        await answer(scope, receive, send)

    async def take(self, request: Request, parts: list[str]) -> Response:
        (worker,) = [w for w in self.real.places[NAME].workers if w.id == parts[4]]
        if worker.ready_at == FOREVER:
            worker.ready_at = worker.free_at = self.real.now  # it has booted, and asks for work
        if not await self._held(lambda: bool(self.real.queue)):
            return Response(status_code=204)
        made = self.real.queue.pop(0)
        made.started, made.worker.free_at = self.real.now, FOREVER
        job = {"id": made.id, "input": made.input}
        return JSONResponse([job] if parts[3] == "job-take-batch" else job)

    async def stop(self, request: Request, parts: list[str]) -> Response:
        if not await self._held(lambda: bool(self.real.to_stop)):
            return Response(status_code=204)
        stopped, self.real.to_stop = self.real.to_stop, []
        return JSONResponse({"jobsToStop": stopped})

    async def piece(self, request: Request, parts: list[str]) -> Response:
        made = self.real.made[parts[5]]
        made.handler = replace(
            made.handler, pieces=(*made.pieces(), (await request.json())["output"])
        )
        return Response()

    async def done(self, request: Request, parts: list[str]) -> Response:
        made, said = self.real.made[parts[5]], await request.json()
        assert isinstance(made, RealMade)
        made.said = said
        if made.completed != FOREVER:
            return Response()  # it was stopped
        if "error" in said:
            made.handler = replace(made.handler, error=said["error"])
        elif request.query_params["isStream"] == "false":
            made.handler = replace(made.handler, pieces=None, output=said.get("output"))
        self.real.end(made, "FAILED" if "error" in said else "COMPLETED")
        return Response()

    async def _held(self, there: Any) -> bool:
        """Long polling: True as soon as it is there."""
        end = asyncio.get_running_loop().time() + HOLD_SECONDS
        while not there():
            if asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(0.005)
        return True
