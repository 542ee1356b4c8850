"""The emulator held against the unmodified ``runpod`` SDK: what one expects, the other says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.testing.scenarios import ANSWER
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_worker import NO_SDK, python_with_sdk

CLIENT = Path(__file__).parents[1] / "emulators/runpod_client.py"
pytestmark = pytest.mark.skipif(python_with_sdk() is None, reason=NO_SDK)


def test_the_sdk_works_with_the_emulator(emulator: Callable[[Any], str], tmp_path: Path) -> None:
    app = RunPod()
    app.url = emulator(app)
    ran = subprocess.run(
        [str(python_with_sdk()), "-P", str(CLIENT), f"{app.url}/v2", app.key],
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["version"] == "1.12.0"
    for name in ("streamed", "output", "sync"):
        assert "".join(piece["text"] for piece in told[name]) == ANSWER
    assert told["status"] == "COMPLETED" and told["failed"] is None
    assert told["health"]["jobs"] == {
        **dict.fromkeys(("failed", "inProgress", "inQueue", "retried"), 0),
        "completed": 3,
    }
    assert told["queued"] == "IN_QUEUE"
    assert told["cancelled"]["status"] == told["after"] == "CANCELLED"
    assert told["purged"] == {"removed": 1, "status": "completed"}
    assert "404" in told["no-such-model True"] and "400" in told["invalid-request True"]
    assert "401 Unauthorized" in told["warm False"]
    assert app.began("never-answers") == 2 and app.stopped("never-answers") == 1
