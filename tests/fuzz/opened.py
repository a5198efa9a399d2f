"""Which files a program opens: asked of the kernel by inotify(7), which needs no rights. Exact, by file and not by path."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_OPEN: Final = 0x20
_EVENT: Final = struct.Struct("iIII")
_LOST: Final = 0x4000
_LIBC = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Notes who is opened among some files, from its beginning on."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Raise OSError where the kernel grants no more watches (fs.inotify.max_user_instances)."""
        self._descriptor = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _error()
        self._files: dict[int, Path] = {}
        for file in files:
            number = _LIBC.inotify_add_watch(self._descriptor, os.fsencode(file), _OPEN)
            if number < 0:
                self.close()
                raise _error()
            self._files[number] = file

    def close(self) -> None:
        """End it."""
        os.close(self._descriptor)

    def taken(self) -> set[Path]:
        """Return the files that were opened since the last time."""
        found: set[Path] = set()
        while True:
            try:
                data = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                assert not mask & _LOST, "the kernel dropped events"
                found.add(self._files[number])
                at += _EVENT.size + length


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
