"""Explains why the cache volume cannot be used, and counts and removes folders in which others wrote what they liked (shell).

Such a folder may be deeper than any path, any recursion and the number of open files; its symlinks lead anywhere, and its
modes keep its owner out.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Final, Self

from setpoint.api.reasons import Problem, Reason

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Opens a folder that others may write beside: no symlink is one."""
ALIVE: Final = "alive"
"""The file by whose lock a process says that its folder is in use."""
_LOCKED: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BATCH: Final = 1000
_LEVELS: Final = 64
_BLOCK: Final = 512
ENTRY: Final = 1024
"""Bytes that a file or folder is counted with beside its blocks: about what tmpfs takes for one, in memory."""
DEEPEST: Final = 200
"""Levels of folders that are counted; each holds a file open."""

_FULL = frozenset(
    {
        *(errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM),
        *(errno.ENOTDIR, errno.EEXIST),  # something else is where a folder should be
    }
)


def cache_problem(
    error: OSError, otherwise: Reason = Reason.GitFailed, what: str = "the cache volume"
) -> Problem:
    """Return why the cache cannot be used; `otherwise`: the reason if it is neither full nor read-only; `what`: where else the files are."""
    why = (error.strerror or "unknown error").lower()
    if error.errno in _FULL:
        return Problem(Reason.CacheFull, f"{what} cannot be written: {why}")
    return Problem(otherwise, f"{what} failed: {why}", retry=True)


def temporary(folder: Path) -> str:
    """Return what a folder of temporary files is called in a problem with it (pure)."""
    return f"the folder of temporary files, {folder},"


def taken(folder: Path, limit: int) -> int:
    """Return the bytes that a folder takes with all below it, or, as soon as it is known to be over it, more than `limit`.

    More than `DEEPEST` levels are over it, as are folders that cannot be looked into. What is gone takes nothing.
    """
    stack: list[_Level] = []
    try:
        return _taken(folder, limit, stack)
    except PermissionError:  # who writes there takes rights away while it is counted
        return limit + 1
    finally:
        for level in stack:
            level.close()


def _taken(folder: Path, limit: int, stack: list[_Level]) -> int:
    total = 0
    below = _Level.of(str(folder), None)
    while below or stack:
        if below:
            stack.append(below)
            total += below.counted(limit - total)
        else:
            stack.pop().close()
        if total > limit or len(stack) > DEEPEST:
            return max(total, limit + 1)
        below = stack[-1].next() if stack else None
    return total


class _Level:
    """An open folder, of which some folders are still to be counted."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._folders = descriptor, list[str]()

    @classmethod
    def of(cls, name: str, parent: int | None) -> Self | None:
        """Open a folder; None if there is none any more. PermissionError."""
        try:
            return cls(_opened(name, parent))
        except PermissionError:
            raise
        except OSError:
            return None

    def counted(self, limit: int) -> int:
        """Return the bytes of what is right in it; it may stop above `limit`."""
        total = 0
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                total += ENTRY + _blocks(entry)
                if total > limit:
                    break
                if entry.is_dir(follow_symlinks=False):
                    self._folders.append(entry.name)
        return total

    def next(self) -> _Level | None:
        """Open the next folder in it, or return None if there is none."""
        while self._folders:
            if found := _Level.of(self._folders.pop(), self._descriptor):
                return found
        return None

    def close(self) -> None:
        os.close(self._descriptor)


def _blocks(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK
    except FileNotFoundError:
        return 0


def claimed(folder: Path) -> int:
    """Make a private folder for as long as this process lives; returns a descriptor whose flock says that it does. OSError."""
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder / "new", _LOCKED | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.rename(folder / "new", folder / ALIVE)  # nobody meets it unlocked
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def remove_abandoned(folder: Path) -> None:
    """Remove a folder that was `claimed` by a process that is gone; not another user's, and none in the making or going away."""
    try:
        if folder.lstat().st_uid != os.geteuid():
            return
        descriptor = os.open(folder / ALIVE, _LOCKED)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
    except BlockingIOError:
        return  # it lives
    finally:
        os.close(descriptor)


def remove(folder: Path) -> bool:
    """Remove a folder with all below it, and return whether nothing is left. Whoever wrote there has ended.

    Symlinks are removed, never followed. What lies too deep is moved up first, so that depth takes no open files.
    """
    try:
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return not os.path.lexists(folder)
    try:
        return _gone(folder.name, parent)
    finally:
        os.close(parent)


def _gone(name: str, parent: int) -> bool:
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            return True
        root = _opened(name, parent)
        try:
            _empty(root)
        finally:
            os.close(root)
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _empty(root: int) -> None:
    """Remove what is in an open folder, as far as that can be done."""
    token, numbers = secrets.token_hex(8), itertools.count()
    stack = [_Clearing(root)]
    try:
        while True:
            if name := stack[-1].folder():
                if len(stack) < _LEVELS:
                    stack[-1].enter(name, stack)
                else:
                    stack[-1].lift(name, root, f"{token}-{next(numbers)}")
            elif len(stack) > 1:
                stack.pop().leave(stack[-1])
            else:
                return
    finally:
        for level in stack[1:]:
            os.close(level.descriptor)


class _Clearing:
    """An open folder whose files are removed as they are met, and what could not be removed from it."""

    def __init__(self, descriptor: int, name: str = "") -> None:
        self.descriptor, self._name = descriptor, name
        self._left, self._batch = set[str](), list[tuple[str, bool]]()

    def folder(self) -> str:
        """Remove files until there is a folder, and return its name; nothing if there is none."""
        while self._batch or self._more():
            name, is_folder = self._batch.pop()
            if is_folder:
                return name
            try:
                os.unlink(name, dir_fd=self.descriptor)
            except OSError:
                self._left.add(name)
        return ""

    def enter(self, name: str, stack: list[_Clearing]) -> None:
        """Go on in a folder of this one."""
        try:
            stack.append(_Clearing(_opened(name, self.descriptor), name))
        except OSError:
            self._left.add(name)

    def lift(self, name: str, root: int, new: str) -> None:
        """Move a folder to the root, by a name that nobody knew."""
        try:
            _move(self.descriptor, name, root, new)
        except OSError:
            self._left.add(name)

    def leave(self, parent: _Clearing) -> None:
        """Close and remove it."""
        os.close(self.descriptor)
        try:
            os.rmdir(self._name, dir_fd=parent.descriptor)
        except OSError:
            parent._left.add(self._name)

    def _more(self) -> bool:
        with os.scandir(self.descriptor) as entries:
            found = ((each.name, each.is_dir(follow_symlinks=False)) for each in entries)
            self._batch = list(
                itertools.islice((pair for pair in found if pair[0] not in self._left), _BATCH)
            )
        return bool(self._batch)


def _move(source: int, name: str, target: int, new: str) -> None:
    try:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
    except PermissionError:  # a folder that is moved must be writable itself
        _own(name, source)
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)


def _opened(name: str, parent: int | None) -> int:
    """Open a folder so that it can be read and written, whatever its mode was."""
    try:
        descriptor = os.open(name, FOLDER, dir_fd=parent)
    except PermissionError:
        _own(name, parent)
        return os.open(name, FOLDER, dir_fd=parent)
    try:
        if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(descriptor, stat.S_IRWXU)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _own(name: str, parent: int | None) -> None:
    """Give its owner all rights to a folder that cannot be opened. No symlink is followed that might be in its place."""
    if sys.platform != "linux":
        os.chmod(name, stat.S_IRWXU, dir_fd=parent, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IRWXU)
    finally:
        os.close(descriptor)
