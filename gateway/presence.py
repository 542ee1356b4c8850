"""Which gateway has a data folder: the one that holds its lock, and where that one can be asked."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from gateway.ledger.layout import is_held
from gateway.settings import ConfigError

logger = logging.getLogger(__name__)

_TRIES = 3
_PAUSE_SECONDS = 0.01  # who looks whether it is held has it for some microseconds


def hold(data_dir: Path) -> Callable[[], None]:
    """Lock the data folder for this process. Raises ConfigError when another one has it."""
    descriptor = os.open(_lock(data_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if left:
                time.sleep(_PAUSE_SECONDS)
                continue
            os.close(descriptor)
            raise ConfigError(
                "server.data_dir: another gateway is using this folder; stop it or choose another"
                " one"
            ) from error
    os.ftruncate(descriptor, 0)  # the word of the one before
    return lambda: os.close(descriptor)


def announce(data_dir: Path, url: str) -> None:
    """Leave word in the lock where this process can be asked."""
    try:
        _lock(data_dir).write_text(f"{url}\n{_network()}", encoding="utf-8")
    except OSError:
        logger.warning("commands will not find this gateway: its data folder takes no writes")


def is_served(data_dir: Path) -> bool:
    """Whether a gateway runs on this folder, on this machine."""
    return is_held(_lock(data_dir))


def announced(data_dir: Path) -> str | None:
    """Where the one that runs there said that it can be asked; None: it said nothing.

    Raises ConfigError where it listens in another network: who listens there in this one is
    somebody else, and is to be sent no key.
    """
    try:
        url, _, network = _lock(data_dir).read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    if url and network != _network():
        raise ConfigError("it listens in another network than this one, a container's say")
    return url or None


def url_of(host: str, port: int) -> str:
    """Where one that listens there is asked from this machine."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host  # noqa: S104
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"


def _network() -> str:
    """This machine since its start, and which of its networks; "": it does not say."""
    try:
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{machine} {os.readlink('/proc/self/ns/net')}"
    except OSError:
        return ""


def _lock(data_dir: Path) -> Path:
    return data_dir / "lock"
