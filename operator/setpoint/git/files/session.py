"""What a process has of its own in the cache folder: the key of all names, and a folder for its children (shell)."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from setpoint.runtime import disk


def cache_key(cache: Path) -> bytes:
    """Read or make the key of the cache, the same for all processes that share it; OSError."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = cache / "key"
    if not path.exists():
        made = cache / f"key-{secrets.token_hex(8)}"
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(32))
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):
            path.hardlink_to(made)
        made.unlink()
    return path.read_bytes()


def session(cache: Path) -> tuple[Path, int]:
    """Make a private folder for this process's children, and remove those of processes that are gone.

    Returns the folder and a descriptor whose flock says that we live. OSError.
    """
    root = cache / "run"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in root.iterdir():
        disk.remove_abandoned(each)
    folder = root / f"{os.getpid()}-{time.monotonic_ns()}"
    return folder, disk.claimed(folder)


def try_exclusive(descriptor: int) -> bool:
    """Lock a file if nobody else has it locked; tells whether that was so. OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
