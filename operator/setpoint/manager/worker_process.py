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

from setpoint.api.hosts import HostRules
from setpoint.link.sockets import pair
from setpoint.manager.worker_connection import ConnectedWorker, ContainerWorker, bounds_of
from setpoint.runtime.metrics import Metrics
from setpoint.settings import OF_WORKER, Settings, variable

PASSED: Final = (
    "PATH", "HOME", "TMPDIR", "LANG", "XDG_CACHE_HOME", "PYTHONPATH", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""What a worker may know of our environment besides its settings: nothing of the cluster."""
END_SECONDS: Final = 5.0


class ChildWorker(ConnectedWorker):
    """A worker that is a child of this process, started anew whenever it has died. `start` it, and `close` it at the end."""

    def __init__(
        self,
        settings: Settings,
        hosts: HostRules,
        metrics: Metrics | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`hosts`: of which it is told where the API server is; `environ`: of this process; the child gets little of it."""
        self._environment = environment_of(settings, environ)
        self._process: Process | None = None
        super().__init__(self._dial, hosts, metrics, bounds_of(settings))

    @classmethod
    def of(cls, settings: Settings, hosts: HostRules, metrics: Metrics | None = None) -> Self:
        """Return a started one."""
        made = cls(settings, hosts, metrics)
        made.start()
        return made

    @property
    def pid(self) -> int | None:
        """Its process id, if it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def close(self) -> None:
        """End the child: it closes what it has open when its socket is closed."""
        await super().close()
        await self._end(END_SECONDS)

    async def _dial(self) -> socket.socket:
        await self._end(0.0)
        ours, theirs = pair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "setpoint", "worker", "--socket", str(theirs.fileno())),
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
    own = {variable(name): environ[variable(name)] for name in OF_WORKER if variable(name) in environ}
    kept = {name: text for name, text in environ.items() if name.upper() in PASSED}  # proxies are in either
    chosen = {"cache_dir": settings.cache_dir, "allow_file_urls": str(settings.allow_file_urls).lower()}
    return {**kept, **own, **{variable(name): text for name, text in chosen.items()}}


def worker_of(settings: Settings, hosts: HostRules, metrics: Metrics) -> ConnectedWorker:
    """Return the worker that the settings name, started: the one that listens in a folder, or else a child."""
    kind = ContainerWorker if settings.worker_socket else ChildWorker
    return kind.of(settings, hosts, metrics)
