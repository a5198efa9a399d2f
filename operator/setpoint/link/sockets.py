"""Unix sockets between two containers of one pod, or two processes of one machine, and who is at their other end (shell).

The kernel says who connected, and who listens (SO_PEERCRED). It is the user that counts: a process of the other container has no id here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

MASK = 0o117
"""Nobody but the socket's user and group may connect."""
NAME = "worker.sock"
_CREDENTIALS = struct.Struct("3i")


class WrongPeer(Exception):
    """At the other end is another user than must be."""


def peer(connected: socket.socket) -> int:
    """Return the uid of the process at the other end, as it was when that one connected, or began to listen."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


def check(connected: socket.socket, uid: int) -> None:
    """Raise WrongPeer unless the process at the other end has this uid."""
    found = peer(connected)
    if found != uid:
        raise WrongPeer(f"at the other end of the socket is uid {found}, and uid {uid} must be")


def user_of(uid: int, *, same_user: bool) -> int:
    """Return the uid that must be at the other end; with the setting `sameUser` both sides run as one user: ours."""
    return os.getuid() if same_user else uid


def listen(folder: Path) -> socket.socket:
    """Return a socket that listens in a folder, in place of one that an earlier process left there; OSError if it cannot be."""
    path = folder / NAME
    with suppress(FileNotFoundError):
        path.unlink()  # in a sticky folder nobody but its owner can
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(MASK)
    try:
        listening.bind(str(path))
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    listening.listen(4)
    listening.setblocking(False)
    return listening


async def connect(folder: Path, uid: int) -> socket.socket:
    """Return a socket that is connected to who listens in a folder; OSError if nobody does, WrongPeer if another user does."""
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connecting.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connecting, str(folder / NAME))
        check(connecting, uid)
    except BaseException:
        connecting.close()
        raise
    return connecting


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two sockets that are connected to each other: the second is for a child of this process, whom its user is known of."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
