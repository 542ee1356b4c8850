"""The child that runs another program as the engine, and sees to it that it ends.

An arbitrary server does not end when its parent is killed, and would keep its GPU memory for ever.
This guard does, by its stdin, and takes the server and the server's own children along.

stdin    one line of JSON: ``{"command": [...], "environment": {...}, "end_file": path or null}``,
         then nothing; the file is locked meanwhile, and written to when an orphan has ended
stdout   at most one line of JSON: ``{"failed": why}``
stderr   all that the program prints
exit     the program's exit code; 128 + n where signal n ended it, as shells have it
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 5.0


def main() -> None:
    """Run the command in this process group until it ends, or until stdin does."""
    with os.fdopen(0, "rb", buffering=0, closefd=False) as stdin:
        config = json.loads(stdin.readline())
    for name, value in config["environment"].items():
        os.putenv(name, value)
    end_file = None
    if config.get("end_file") is not None:
        end_file = os.open(config["end_file"], os.O_WRONLY | os.O_CLOEXEC)
        fcntl.flock(end_file, fcntl.LOCK_EX)
    try:
        program = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell
            config["command"], stdin=subprocess.DEVNULL, stdout=sys.stderr
        )
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.stdout.write(json.dumps({"failed": "command_missing"}) + "\n")
        sys.stdout.flush()
        sys.exit(127)
    signal.signal(signal.SIGTERM, lambda *_: program.terminate())
    orphaned = threading.Event()
    given = (program, orphaned, end_file)
    watch = threading.Thread(target=_end_with_parent, args=given, daemon=True)
    watch.start()
    code = program.wait()
    if orphaned.is_set():
        watch.join()
    os._exit(code if code >= 0 else 128 - code)


def _end_with_parent(
    program: subprocess.Popen[bytes], orphaned: threading.Event, end_file: int | None
) -> None:
    while os.read(0, 4096):
        pass
    orphaned.set()
    program.terminate()
    try:
        program.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
    if end_file is not None:
        os.write(end_file, b"ended")
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # what the program has started, and this guard


if __name__ == "__main__":
    main()
