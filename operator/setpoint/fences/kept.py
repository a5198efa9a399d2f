"""A launcher that is there whenever a child is to be started (async shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from setpoint.fences.launching import Connection, LaunchError
from setpoint.fences.policy import Policy

T = TypeVar("T")


class Kept:
    """Starts a launcher when it is needed, again if it died, and ends it with `close`."""

    def __init__(self, policy: Policy, options: Sequence[str], environ: Mapping[str, str], what: str) -> None:
        """`policy`: how strict the fences of its children are; the others are those of `Connection`."""
        self._policy, self._options, self._environ, self._what = policy, options, environ, what
        self.launcher: Connection | None = None
        """The launcher, if there is one."""

    def get(self) -> Connection:
        """Return the launcher, started if there is none that runs; LaunchError where no child can be fenced."""
        if refusal := self._policy.refusal():
            raise LaunchError(refusal)
        loop = asyncio.get_running_loop()
        if self.launcher is None or not self.launcher.usable(loop):
            self.close()
            self.launcher = Connection(loop, self._options, self._environ, self._what)
        return self.launcher

    async def child(self, start: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what `start` makes of the launcher, or of the next one if it dies meanwhile; LaunchError."""
        try:
            return await start(self.get())
        except LaunchError:
            return await start(self.get())

    def close(self) -> None:
        """End the launcher, and with it every child that runs."""
        if self.launcher is not None:
            self.launcher.close()
            self.launcher = None
