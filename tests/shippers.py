"""Shippers of in-process gateways, forked from one process that has imported all they need.

Most of a shipper's start is its imports, 0.2 s, and a run of the suite starts hundreds. An app that
is given ``forking_python()`` for its ``python`` starts it as always: a child with the command line,
the streams and the process id that the gateway knows. That child is a small program, which hands
its streams to the warm process, and lives as long as the shipper that is forked there. Killing it
kills the shipper. What ``gateway serve`` starts in other tests is the real one.
"""

from __future__ import annotations

import atexit
import functools
import gc
import marshal
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_CLIENT = """#!{python} -IS
import _signal, _socket, marshal, os, sys
_signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
_signal.signal(_signal.SIGINT, _signal.SIG_IGN)
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
server.connect({address!r})
arguments = sys.argv[sys.argv.index("-m") + 2:]
streams = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
server.sendmsg(
    [marshal.dumps((arguments, os.getcwd(), dict(os.environ)))],
    [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)],
)
os.close(0)
os.close(1)
os._exit(ord(server.recv(1) or b"\\1"))
"""
_MOST_BYTES = 1 << 20


@functools.cache
def forking_python() -> str:
    """The program to start shippers by; the warm process is there from the first call on."""
    folder = Path(tempfile.mkdtemp(prefix="shippers-"))
    address = folder / "socket"
    client = folder / "python"
    client.write_text(_CLIENT.format(python=sys.executable, address=str(address)))
    client.chmod(0o700)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.shippers", str(address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        start_new_session=True,
    )
    assert server.stdin is not None and server.stdout is not None

    def end() -> None:
        server.communicate()
        shutil.rmtree(folder)

    atexit.register(end)
    assert server.stdout.readline() == b"ready\n"
    return str(client)


def serve(address: str) -> None:
    """Fork a shipper for each that calls, until standard input ends."""
    from gateway.ledger.shipping import shipper

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen(64)
        gc.freeze()
        os.write(1, b"ready\n")
        while True:
            ready = select.select([listener.fileno(), 0], [], [], 1.0)[0]
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if listener.fileno() in ready:
                caller = listener.accept()[0]
                if not os.fork():
                    listener.close()
                    _ship(caller, shipper.main)
                caller.close()
            elif 0 in ready:
                break
    with suppress(ChildProcessError):
        while os.waitpid(-1, 0)[0]:
            pass


def _ship(caller: socket.socket, main: Callable[[list[str]], int]) -> None:
    """A shipper's life, in a process of its own, with what its caller has handed over."""
    status = 1
    try:
        message, streams, _, _ = socket.recv_fds(caller, _MOST_BYTES, 3)
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
            os.close(fd)
        arguments, folder, environment = marshal.loads(message)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os.setsid()
        threading.Thread(target=_die_with, args=(caller,), daemon=True).start()
        status = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            caller.send(bytes([status]))
        os._exit(status)


def _die_with(caller: socket.socket) -> None:
    with suppress(OSError):
        caller.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1])
