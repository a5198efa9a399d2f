"""Returns freed memory to the system (shell).

The GNU C library keeps freed memory that lies below memory in use, in more and more pieces: in half an hour of commits and
cut connections, a third of the memory. See mallopt(3) and malloc_trim(3). With other C libraries this module does nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from typing import Final

from setpoint.runtime.bell import Bell

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
LARGE: Final = 128 * 1024
"""Bytes from which a block is mapped by itself, and gone when it is freed: a connection's buffer is twice as large."""
PAUSE: Final = 60.0
"""Seconds of work, at least, whose memory is given back at once."""


def _function(name: str) -> Callable[..., int] | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None  # no such library here


def separate_large_blocks() -> None:
    """Keep the threshold of large blocks where it is at first: it would grow with each that is freed, up to 32 MiB."""
    if mallopt := _function("mallopt"):
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_TRIM_THRESHOLD, LARGE)


def trim() -> None:
    """Return all empty pages to the system."""
    if malloc_trim := _function("malloc_trim"):
        malloc_trim(0)


class TrimTimer:
    """Has memory given back a while after work, and never where nothing happens."""

    def __init__(self) -> None:
        """Nothing was done yet."""
        self._bell = Bell(lambda: asyncio.get_running_loop().run_in_executor(None, trim))

    def worked(self) -> None:
        """Note that something was done."""
        self._bell.ring_after(PAUSE)

    def close(self) -> None:
        """Stop returning memory."""
        self._bell.stop()
