"""Opens what others may have written, name by name from a folder that is open: no symlink is followed, no queue waited for (shell)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from setpoint.runtime.disk import FOLDER

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def folder(path: Path, *names: str) -> Iterator[int]:
    """Open a folder, or the one that its names lead to, one in the other; gives a descriptor. OSError, also for a symlink.

    On the way to `path` symlinks are followed: that is ours.
    """
    descriptor = os.open(path, FOLDER)
    try:
        for name in names:
            below = os.open(name, FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def file(name: str, parent: int) -> int:
    """Open a file in an open folder to read it; returns a descriptor. OSError, also for what is no file."""
    descriptor = os.open(name, _FILE, dir_fd=parent)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "no file")
    return descriptor


def text(name: str, parent: int, most: int) -> str:
    """Return what a file in an open folder says, at most `most` bytes, as ASCII. OSError, also for what is no file."""
    descriptor = file(name, parent)
    try:
        return os.read(descriptor, most).decode("ascii", "replace")
    finally:
        os.close(descriptor)


def is_folder(name: str, parent: int) -> bool:
    """Return whether there is a folder of that name in an open one."""
    with suppress(OSError):
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    return False


def is_file(name: str, parent: int) -> bool:
    """Return whether there is a file of that name in an open folder."""
    with suppress(OSError):
        return stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    return False


def folders(path: Path) -> list[str]:
    """Return the names of the folders in a folder, nothing where there is none; OSError."""
    try:
        with os.scandir(path) as entries:
            return [each.name for each in entries if each.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def files(path: Path) -> Iterator[Path]:
    """Give all files below a folder, however deep, as far as their paths can be told; what vanishes meanwhile is left out."""
    stack = [path]
    while stack:
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for each in entries:
                if each.is_dir(follow_symlinks=False):
                    stack.append(Path(each.path))
                else:
                    yield Path(each.path)
