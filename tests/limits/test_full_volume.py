"""The file of keys on a volume that is really full: refused plainly, nothing lost, healed by room.

The volume is a file system in memory that only the test's own process sees. Where nobody may make
one (no user namespaces), the test is skipped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.limits.keystore import KeyStore, KeyStoreUnusable, new_key
from gateway.settings import KeySettings

_ROOM_BYTES = 64 * 1024
_ALONE = ("unshare", "--user", "--map-root-user", "--mount")

_FULL = """
import os, sqlite3, subprocess, sys
from pathlib import Path
from gateway.limits.keystore import KeyStore, KeyStoreUnusable, new_key
from gateway.settings import KeySettings

folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={sys.argv[2]}", "none", folder], check=True)
junk, store = folder / "junk", KeyStore(folder / "keys.sqlite3")

def fill():
    with junk.open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    assert os.statvfs(folder).f_bavail == 0

def told(what, work):
    try:
        work()
        print(what, "done")
    except KeyStoreUnusable as error:
        print(what, "refused:", error)

def shown():
    print([(key.settings.name, key.settings.sha256 == digest, key.revoked_at_us is None)
           for key in store.keys()])

_, digest = new_key()
one = KeySettings(name="one", sha256=digest)
two = KeySettings(name="two", sha256=new_key()[1])
fill()
told("the first", lambda: store.create(one, (), 1))
junk.unlink()
told("the first", lambda: store.create(one, (), 1))
watched = store.changes()
fill()
told("another", lambda: store.create(two, (), 2))
told("rotate", lambda: store.rotate("one", two.sha256, 3))
told("revoke", lambda: store.revoke("one", 4))
print("noticed a change", store.changes() != watched)
shown()
junk.unlink()
told("another", lambda: store.create(two, (), 5))
told("revoke", lambda: store.revoke("one", 6))
print("noticed a change", store.changes() != watched)
shown()
"""


def test_keys_on_a_full_volume(tmp_path: Path) -> None:
    try:
        subprocess.run([*_ALONE, "mount", "-t", "tmpfs", "none", tmp_path], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs user namespaces, for a volume of its own")
    done = subprocess.run(
        [*_ALONE, sys.executable, "-c", _FULL, tmp_path, str(_ROOM_BYTES)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    full = "refused: keys.sqlite3: database or disk is full"
    assert done.stdout.splitlines() == [
        f"the first {full}",
        "the first done",
        f"another {full}",
        f"rotate {full}",
        f"revoke {full}",
        "noticed a change False",
        "[('one', True, True)]",
        "another done",
        "revoke done",
        "noticed a change True",
        "[('one', True, False), ('two', False, True)]",
    ], done.stderr


def test_keys_where_no_file_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    store = KeyStore(tmp_path / "data" / "keys.sqlite3")
    with pytest.raises(KeyStoreUnusable, match=r"keys\.sqlite3: "):
        store.create(KeySettings(name="one", sha256=new_key()[1]), (), 1)
