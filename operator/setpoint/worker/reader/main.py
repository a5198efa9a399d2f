"""The launcher of readers: `python -P -s -m setpoint.worker.reader.main SOCKET_FD PARENT_PID` (`fences.launcher`).

It imports once what reads commits, and forks. A reader confines and fences itself in before it hears of anything: it sees the
mirrors that it is for, its own scratch folder, and Python's files; it has no socket but the two that it is given, and starts no process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
from typing import Final, NoReturn

from setpoint.fences import launcher, policy
from setpoint.fences.landlock import Access, Grant
from setpoint.fences.launcher import Message
from setpoint.worker.reader import limits
from setpoint.worker.reader.serving import Reader, serve

_NULL: Final = 0
STACK: Final = 2 * 2**20
"""Bytes of the stack of a thread: all of it counts as memory, used or not."""


def become(message: Message, descriptors: list[int]) -> NoReturn:
    """Serve one namespace, with the sockets for calls and for errands; ends when the former does."""
    calls, errands = (socket.socket(fileno=os.dup(each)) for each in descriptors)
    for each in descriptors:
        os.close(each)
    for standard in (1, 2):
        os.dup2(_NULL, standard)  # what it would write is a tenant's
    os.environ.clear()
    threading.stack_size(STACK)
    loop = asyncio.new_event_loop()  # it has a socket pair of its own, and later there are none
    reader = Reader(**message["reader"])
    limits.confine(message["memory"])
    policy.enter(message, _readable(), network=False)
    status = 1
    try:
        loop.run_until_complete(serve(calls, errands, reader))
        status = 0
    except MemoryError:
        status = limits.NO_MEMORY
    finally:
        os._exit(status)  # threads may still read what somebody wrote, and nobody waits for that


def _readable() -> list[Grant]:
    """Return what every reader may read: Python imports some modules when they are needed first."""
    paths = dict.fromkeys((*policy.LIBRARIES, *sys.path))
    return [Grant(path, Access.READ) for path in paths if path and os.path.exists(path)]


if __name__ == "__main__":
    gc.freeze()  # what was imported is shared by all forks for as long as nobody writes to it
    launcher.main(int(sys.argv[1]), int(sys.argv[2]), become)
