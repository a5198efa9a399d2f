"""Runs the worker as a child, and asks it over a socket pair (shell). It is started anew whenever it has died."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Self

from setpoint import __version__
from setpoint.api.hosts import HostRules
from setpoint.link.client import Client
from setpoint.link.remote import Remote
from setpoint.link.sockets import pair
from setpoint.link.turns import Turns
from setpoint.manager.patience import Patient
from setpoint.settings import FIELDS, Settings, variable
from setpoint.wall.messages import PROTOCOL, Hello

PASSED: Final = (
    "PATH", "HOME", "TMPDIR", "LANG", "XDG_CACHE_HOME", "PYTHONPATH", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""What a worker may know of our environment besides its settings: nothing of the cluster."""
END_SECONDS: Final = 5.0


class ChildWorker(Patient):
    """A worker that is a child of this process. `start` it, and `close` it at the end."""

    def __init__(self, settings: Settings, hosts: HostRules, environ: Mapping[str, str] = os.environ) -> None:
        """`hosts`: where it may connect to; `environ`: of this process; the child gets little of it."""
        self._api = [f"--api-server={host}:{port}" for host, port in hosts.api]
        self._environment = environment_of(settings, environ)
        self._process: Process | None = None
        self._client = Client(self._dial, Hello(PROTOCOL, __version__), Turns())
        self._remote = Remote(self._client)
        super().__init__(self._remote, self._client.ready)

    @classmethod
    def of(cls, settings: Settings, hosts: HostRules) -> Self:
        """Return a started one."""
        made = cls(settings, hosts)
        made.start()
        return made

    def start(self) -> None:
        """Start the child, and another one whenever it has died."""
        self._client.start()

    @property
    def pid(self) -> int | None:
        """Its process id, if it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def close(self) -> None:
        """End the child: it closes what it has open when its socket is closed."""
        await self._remote.close()
        await self._client.close()
        await self._end(END_SECONDS)

    async def _dial(self) -> socket.socket:
        await self._end(0.0)
        ours, theirs = pair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "setpoint", "worker", "--socket", str(theirs.fileno()), *self._api),
                stdin=DEVNULL,
                env=self._environment,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    async def _end(self, patience: float) -> None:
        """Wait for the end of the child for so many seconds, then kill it."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            async with asyncio.timeout(patience):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()


def environment_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a worker with these settings."""
    own = {variable(name): environ[variable(name)] for name in FIELDS if variable(name) in environ}
    kept = {name: environ[name] for name in PASSED if name in environ}
    chosen = {"cache_dir": settings.cache_dir, "allow_file_urls": str(settings.allow_file_urls).lower()}
    return {**kept, **own, **{variable(name): text for name, text in chosen.items()}}
