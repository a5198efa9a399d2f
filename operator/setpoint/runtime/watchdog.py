"""Ends a process whose event loop stands still: for somebody else to start it anew (shell)."""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 60.0
"""Seconds for which a loop may stand; what holds it for longer does not end by itself."""


@contextmanager
def watched(longest: float = LONGEST) -> Iterator[None]:
    """End this process with code 1 if its event loop has no turn for so many seconds, within the block.

    It is told by a thread that needs no Python for it, so that one that holds Python's lock is noticed too. Where each thread is, and
    nothing of what it is at work on, goes to stderr.
    """

    async def turns() -> None:
        while True:
            faulthandler.dump_traceback_later(longest, exit=True)
            await asyncio.sleep(longest / 10)

    turning = asyncio.get_running_loop().create_task(turns())
    try:
        yield
    finally:
        turning.cancel()
        faulthandler.cancel_dump_traceback_later()
