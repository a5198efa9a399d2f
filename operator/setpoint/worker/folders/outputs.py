"""What a build printed, as two files beside its work folder: the broker makes them, the reader takes them (shell).

So nobody but the reader holds them in memory, where they count as its own. Their names follow from the work folder's, which has no other build.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from setpoint.runtime.disk import FOLDER

NAMES: Final = ("%s.stdout", "%s.stderr")
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def made(scratch: Path, work: str) -> Iterator[tuple[int, int]]:
    """Make the files for a work folder in `scratch`, and give their descriptors; OSError if one is there.

    They stay, unless the block fails: then nobody takes them.
    """
    with ExitStack() as opened, ExitStack() as failed:
        folder = os.open(scratch, FOLDER)
        opened.callback(os.close, folder)
        descriptors = []
        for name in NAMES:
            descriptors.append(os.open(name % work, _NEW, 0o600, dir_fd=folder))
            opened.callback(os.close, descriptors[-1])
            failed.callback(_unlink, name % work, folder)
        yield descriptors[0], descriptors[1]
        failed.pop_all()


def read(work: Path) -> tuple[bytes, bytes]:
    """Return what a build in a work folder printed: stdout and stderr; OSError."""
    stdout, stderr = (_content(work.with_name(name % work.name)) for name in NAMES)
    return stdout, stderr


def remove(work: Path) -> None:
    """Remove what a build in a work folder printed, as far as it is there."""
    for name in NAMES:
        with suppress(FileNotFoundError):
            os.unlink(work.with_name(name % work.name))


def full(descriptor: int) -> bool:
    """Return whether the volume of an open file has no room left; OSError."""
    return os.fstatvfs(descriptor).f_bavail == 0


def _content(path: Path) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return file.read()


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
