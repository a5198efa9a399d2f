"""The operator's side of a launcher: has children started and killed, and hears of their ends (async shell)."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import setpoint
from setpoint.fences import launcher

_RETRY_SECONDS: Final = 0.05


class LaunchError(Exception):
    """The launcher does not run, or died."""


@dataclass(frozen=True, slots=True)
class Started:
    """A child that runs: the number of its request, its process id, and its status to be (LaunchError if the launcher died)."""

    number: int
    pid: int
    ended: asyncio.Future[int]


class Connection:
    """One launcher process, and who waits for which of its children."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: Sequence[str], environ: Mapping[str, str], what: str
    ) -> None:
        """`options`: what Python is started with, the module included; `what` the children are, for messages."""
        self._loop, self._what = loop, what
        self._waiting: dict[int, tuple[asyncio.Future[int], asyncio.Future[int]]] = {}
        self._numbers = itertools.count(1)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        command = [sys.executable, *options, str(theirs.fileno()), str(os.getpid())]
        package = os.pathsep.join(str(Path(each).parent) for each in setpoint.__path__)
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**environ, "PYTHONPATH": package},
                cwd="/",
                start_new_session=True,  # a terminal's Ctrl-C is for the operator, which ends the children in order
            )
        loop.add_reader(self._socket, self._read)

    def usable(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether it runs, and belongs to this event loop."""
        return self._loop is loop and self._socket.fileno() >= 0 and self._process.poll() is None

    def close(self) -> None:
        """End it, and with it all children; whoever waits meets LaunchError."""
        if self._socket.fileno() >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
            self._socket.close()
        self._process.kill()
        self._process.wait()
        waiting, self._waiting = self._waiting, {}
        for future in (each for pair in waiting.values() for each in pair):
            if not future.done() and not self._loop.is_closed():
                future.set_exception(LaunchError(f"the launcher of {self._what} ended"))
                future.exception()

    async def start(self, request: Mapping[str, Any], files: Sequence[int]) -> Started:
        """Have a child started that is given some open files; LaunchError. A cancelled wait kills it."""
        number = next(self._numbers)
        started, ended = self._loop.create_future(), self._loop.create_future()
        self._waiting[number] = started, ended
        ended.add_done_callback(lambda _: self._waiting.pop(number, None))
        try:
            await self._send({**request, "id": number}, files)
            return Started(number, await started, ended)
        except asyncio.CancelledError:
            self.kill(number)
            raise

    def kill(self, number: int) -> None:
        """Ask the launcher, which is the only one to know that the pid is still theirs."""
        if number not in self._waiting or self._socket.fileno() < 0:
            return
        try:
            self._socket.send(json.dumps({"kill": number}).encode())
        except BlockingIOError:
            self._loop.call_later(_RETRY_SECONDS, self.kill, number)
        except OSError:
            self.close()

    async def _send(self, message: Mapping[str, Any], files: Sequence[int]) -> None:
        data = json.dumps(message).encode()
        while True:
            try:
                socket.send_fds(self._socket, [data], files)
            except BlockingIOError:
                await asyncio.sleep(_RETRY_SECONDS)
            except OSError as error:
                raise LaunchError(
                    f"the launcher of {self._what} does not answer: {error.strerror}"
                ) from error
            else:
                return

    def _read(self) -> None:
        try:
            data = self._socket.recv(launcher.PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        message = json.loads(data)
        started, ended = self._waiting.get(message["id"], (None, None))
        future, value = (started, message["pid"]) if "pid" in message else (ended, message["status"])
        if future is not None and not future.done():
            future.set_result(value)
