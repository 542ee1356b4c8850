"""Replicate's control plane with the real model runtime behind it: cog 0.23.1, as a process.

Ids, the queue, the boot, ``Prefer``, streams and cancelling are the emulator's, as ever; what runs
a prediction, and how long that took, is cog's own word. It tells both by its webhooks, which is how
Replicate itself listens to it (https://github.com/replicate/cog, docs/http.md, read 2026-11-23; the
bodies as cog 0.23.1 sent them, 2026-11-26). cog says seconds and no instants, so a prediction
``started`` when cog was given it, and has ``completed`` by cog's seconds after that.

One machine, scaled to zero: started for the first prediction, ended after ``keep_alive_seconds``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from providers.local.launch import free_port
from tests.emulators.replicate import Replicate, frame
from tests.emulators.replicate_wire import REFUSALS, problem, schema_of
from tests.emulators.replicate_world import Machine, Made, Model, World, _id

NAME = "emulated/on-cog"
MODEL = Model(
    pieces=(),
    inputs={
        "prompt": {"type": "string", "x-order": 0},
        "max_tokens": {"type": "integer", "default": 8, "x-order": 1},
    },
    required=("prompt",),
)
FOREVER = datetime.max.replace(tzinfo=UTC)
START_SECONDS = 60.0
ENDED = ("succeeded", "failed", "canceled")


class Cog:
    """The runtime as a process of its own, in ``folder``; ``end`` must be called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boots = 0
        self.setup: dict[str, Any] = {}  # of the last boot, by cog's own clock
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        # `cog build` would write it; cog checks inputs against it.
        schema = folder / ".cog/openapi_schema.json"
        schema.parent.mkdir(parents=True)
        schema.write_text(json.dumps({**schema_of(MODEL), "paths": {}}))
        shutil.copy(Path(__file__).with_name("cog_model.py"), folder / "model.py")

    @property
    def up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> list[dict[str, Any]]:
        """What the runtime wrote, in order, over all its boots."""
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def start(self) -> None:
        """Start it where it is not up, and wait until its setup is over."""
        if self.up:
            return
        self._spawn()
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(START_SECONDS):
            while True:
                assert self.up, "cog ended while it started"
                try:
                    health = (await http.get(f"{self._url}/health-check")).json()
                except httpx.ConnectError:
                    health = {"status": "STARTING"}
                assert health["status"] in ("STARTING", "READY"), health["status"]
                if health["status"] == "READY" and "completed_at" in health["setup"]:
                    self.setup = health["setup"]
                    return
                await asyncio.sleep(0.02)

    def _spawn(self) -> None:
        self.boots += 1
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        programs = Path(sys.executable).parent  # it starts its worker as plain `python`
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1"],
                cwd=self.folder,
                env={
                    "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
                    "COG_PREDICT_TYPE_STUB": "model.py:Runner",
                    "PORT": str(port),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def run(self, prediction_id: str, given: dict[str, Any], webhook: str) -> None:
        """Begin a prediction; how it goes is told to ``webhook``."""
        body = {
            "input": given,
            "webhook": webhook,
            "webhook_events_filter": ["start", "output", "completed"],
        }
        headers = {"prefer": "respond-async"}
        path = f"{self._url}/predictions/{prediction_id}"
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.put(path, json=body, headers=headers)
        assert answer.status_code == 202, answer.text

    async def cancel(self, prediction_id: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(f"{self._url}/predictions/{prediction_id}/cancel")
        assert answer.status_code == 200, answer.text

    def end(self) -> None:
        """End it with its worker; nothing happens where it is not up."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None


@dataclass(slots=True)
class CogMade(Made):
    """A prediction that is really run. ``end`` is cog's last word on it, as it came."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    end: dict[str, Any] = field(default_factory=dict)

    def piece_at(self, index: int) -> datetime:
        return self.created  # a piece that is known has come


class CogWorld(World):
    """One machine on the real clock, which ``advance`` sets forward for idle time."""

    def __init__(self, cog: Cog, webhook: Callable[[str], str]) -> None:
        super().__init__(scale=1.0, keep_alive_seconds=300.0)
        self.cog = cog
        self._webhook = webhook  # where cog tells how a prediction of this id goes
        self._ahead = timedelta(0)
        self._turn = asyncio.Lock()
        self._free_at = self.now
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)
        idle = self.now - self._free_at
        if not self._turn.locked() and idle >= timedelta(seconds=self.keep_alive_seconds):
            self.cog.end()

    def make(
        self,
        name: str,
        model: Model,
        given: dict[str, Any],
        *,
        deployment: str | None = None,
        deadline_seconds: float | None = None,
    ) -> Made:
        now = self.now
        made = CogMade(
            id=_id(f"{name} {len(self.made)}"),
            name=name,
            model=model,
            input=given,
            created=now.replace(microsecond=now.microsecond // 1000 * 1000),  # as it is shown
            started=None,
            completed=FOREVER,
            status="succeeded",
            machine=Machine(now),
            cold=not self.cog.up,
            queue_seconds=0.0,
            boot_seconds=0.0,
            run_seconds=0.0,
            deployment=deployment,
            deadline=None if deadline_seconds is None else f"{deadline_seconds:g}s",
        )
        self.made[made.id] = made
        task = asyncio.create_task(self._run(made, deadline_seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return made

    async def stop(self, made: Made) -> None:
        """Cancel a prediction, and see it ended."""
        assert isinstance(made, CogMade)
        if made.started is None:
            if made.completed == FOREVER:
                made.status, made.completed = "canceled", self.now
            return
        if made.completed == FOREVER:
            await self.cog.cancel(made.id)
            await asyncio.wait_for(made.over.wait(), 10)

    def hear(self, prediction_id: str, said: dict[str, Any]) -> None:
        """A webhook of cog's; each holds all that came before, and they may overtake each other."""
        made = self.made[prediction_id]
        assert isinstance(made, CogMade) and made.started is not None
        if made.completed != FOREVER:
            return
        pieces = tuple(said.get("output") or ())
        if len(pieces) >= len(made.model.pieces or ()):
            made.model = replace(made.model, pieces=pieces, metrics=said["metrics"])
        if said["status"] in ENDED:
            made.end, made.status = said, said["status"]
            made.completed = made.started + timedelta(seconds=said["metrics"]["predict_time"])
            made.over.set()

    async def _run(self, made: CogMade, deadline_seconds: float | None) -> None:
        async with self._turn:
            try:
                await self._run_on_cog(made, deadline_seconds)
            except Exception:
                made.model = replace(made.model, error="The model could not be run. (E1000)")
                made.status, made.completed = "failed", self.now
                raise
            finally:
                self._free_at = self.now

    async def _run_on_cog(self, made: CogMade, deadline_seconds: float | None) -> None:
        await self.cog.start()
        if made.completed != FOREVER:
            return  # cancelled meanwhile; the machine is up all the same
        made.started = self.now
        await self.cog.run(made.id, made.input, self._webhook(made.id))
        left = None
        if deadline_seconds is not None:
            left = deadline_seconds - (self.now - made.created).total_seconds()
        try:
            await asyncio.wait_for(made.over.wait(), left)
        except TimeoutError:
            await self.stop(made)


class ReplicateOnCog(Replicate):
    """The emulator, whose one model ``NAME`` is really run."""

    def __init__(self, cog: Cog) -> None:
        self.cogs = CogWorld(cog, lambda prediction_id: f"{self.url}/cog/{prediction_id}")
        super().__init__(self.cogs)
        self.models[NAME] = MODEL

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, hook, prediction_id = scope["path"].rpartition("/cog/")
        if not hook:
            await super().__call__(scope, receive, send)
            return
        self.cogs.hear(prediction_id, await Request(scope, receive).json())
        await Response()(scope, receive, send)

    async def cancel(self, request: Request) -> Response:
        made = self.world.made.get(request.path_params["id"])
        if made is None:
            return problem(*REFUSALS["no-such-model"])
        await self.cogs.stop(made)
        return JSONResponse(self.shown(made))

    async def _frames(
        self, made: Made, begin: int, cut: int | None, *, with_ids: bool
    ) -> AsyncIterator[bytes]:
        second, told = int(made.created.timestamp()), begin
        while True:
            ended = made.completed != FOREVER  # before looking: nothing may come between
            pieces = made.model.pieces or ()
            for index in range(told, len(pieces)):
                yield frame("output", pieces[index], f"{second}:{index}")
            told = len(pieces)
            if ended:
                break
            await asyncio.sleep(0.005)
        reason = {} if made.status == "succeeded" else {"reason": "canceled"}
        yield frame("done", json.dumps(reason), f"{second}:d")
