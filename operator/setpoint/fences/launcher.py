"""The child process that starts other children, each a fork of it: `main(SOCKET_FD, PARENT_PID, become)`.

Python, and what it imports, takes longer to start than most children live. So a launcher is started once, and forks:
without threads, and with little to copy. It reads nothing that a tenant wrote.

Protocol, JSON in packets. In: {"id", ...} with file descriptors that the child is given, or {"kill": id}. What is longer than a packet lies in a
file, whose descriptor is the last: {"id", "rest": its bytes}. Out: {"id", "pid"}, later {"id", "status", "peak"}: the exit code, or minus the
signal, and the most bytes of memory that were resident. What is no request is ignored, for the children that run need the launcher.
At the end of the socket, which is the death of the parent too, every child is killed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from setpoint.fences.kernel import die_with

PACKET: Final = 65536
LONGEST: Final = 4 * 2**20
"""Bytes of a request, packet or file."""
CANNOT_START: Final = 127
_DESCRIPTORS: Final = 4
_MAXRSS_UNIT: Final = 1024 if sys.platform == "linux" else 1
Message = dict[str, Any]
Become = Callable[[Message, list[int]], None]
"""Turns a fork into what a request asks for; what it is given are the request and the descriptors."""


class Launcher:
    """The loop: requests from the socket, exits from SIGCHLD."""

    def __init__(self, channel: socket.socket, become: Become) -> None:
        """`become` runs in each fork, which ends when it returns."""
        self._channel, self._become = channel, become
        self._running: dict[int, int] = {}
        self._woken, self._wake = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Serve until the socket ends."""
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in self._selector.select()}
            if self._woken in ready:
                self._woken.recv(PACKET)
                self._reap()
            if self._channel in ready and not self._request():
                break
        for pid in self._running:
            _kill(pid)

    def _request(self) -> bool:
        """Take a request; returns whether there was one, for at the end of the socket there is none."""
        data, descriptors, flags, _ = socket.recv_fds(self._channel, PACKET, _DESCRIPTORS)
        try:
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            if not data:
                return False
            cut = flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
            if not cut and (message := parsed(data)) is not None:
                self._do(message, descriptors)
            return True
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _do(self, message: Message, descriptors: list[int]) -> None:
        if "kill" in message:
            for pid in [pid for pid, each in self._running.items() if each == message["kill"]]:
                _kill(pid)
            return
        number = message["id"]
        try:
            pid = self._fork(*_whole(message, descriptors))
        except (OSError, ValueError):  # too many processes, no memory, or a file that holds no request
            self._send({"id": number, "pid": 0})
            self._send({"id": number, "status": CANNOT_START, "peak": 0})
        else:
            self._running[pid] = number
            self._send({"id": number, "pid": pid})

    def _fork(self, message: Message, descriptors: list[int]) -> int:
        parent = os.getpid()
        if pid := os.fork():
            return pid
        try:
            self._leave(parent)
            self._become(message, descriptors)
        except OSError as error:
            os.write(2, f"Error: {error.strerror}\n".encode())
        finally:
            os._exit(CANNOT_START)

    def _leave(self, parent: int) -> None:
        """Have nothing of the launcher's any more: whoever held its socket could have processes started."""
        os.setpgid(0, 0)
        die_with(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for each in (self._channel, self._woken, self._wake):
            each.close()

    def _reap(self) -> None:
        while self._running:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            peak = used.ru_maxrss * _MAXRSS_UNIT
            code = os.waitstatus_to_exitcode(status)
            self._send({"id": self._running.pop(pid), "status": code, "peak": peak})

    def _send(self, message: dict[str, int]) -> None:
        self._channel.send(json.dumps(message).encode())


def parsed(data: bytes) -> Message | None:
    """Return a request, or None for what is none (pure)."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return None
    fits = type(message) is dict and type(message.get("kill", message.get("id"))) is int
    return message if fits else None


def _whole(message: Message, descriptors: list[int]) -> tuple[Message, list[int]]:
    """Return a request with its descriptors, read from its file if it lies in one; OSError, ValueError."""
    if "rest" not in message:
        return message, descriptors
    if not 0 < message["rest"] <= LONGEST or not descriptors:
        raise ValueError("no request")
    whole = parsed(os.pread(descriptors[-1], message["rest"], 0))
    if whole is None:
        raise ValueError("no request")
    return whole, descriptors[:-1]


def _kill(pid: int) -> None:
    """Kill a process group; before its own setpgid the process alone."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main(descriptor: int, parent: int, become: Become) -> None:
    """Serve the socket at `descriptor` for the process `parent`, until either ends."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(descriptor, False)
    Launcher(socket.socket(fileno=descriptor), become).serve()
