"""Builds for readers: runs kustomize in work folders that readers made, a few at a time (async shell)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from setpoint.api.reasons import Problem, Reason
from setpoint.fences.clock import Clock
from setpoint.link.server import Handle, typed
from setpoint.link.turns import Turns
from setpoint.render.program import Program
from setpoint.runtime.disk import cache_problem, temporary
from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots
from setpoint.wall.inside import Ran, Run
from setpoint.wall.messages import Failed
from setpoint.worker.folders import outputs
from setpoint.worker.room import Watch

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Builds:
    """Shares the slots for builds between namespaces; a reader is trusted with nothing but its own folder."""

    def __init__(self, kustomize: Program, concurrency: int, watch: Watch) -> None:
        """`concurrency`: how many builds run at once; `watch` does not count the time for which a reader waits for one."""
        self._kustomize, self._watch = kustomize, watch
        self._slots = Slots(Limits(concurrency, strict=True))

    def errands(self, namespace: str, scratch: Path, pid: int, clock: Clock) -> Handle:
        """Return what answers a reader that has this folder and process id, and whose requests have this clock."""

        async def run(request: Run) -> Ran | Failed:
            if not _NAME.fullmatch(request.work) or request.target.startswith("-"):
                return Failed(Reason.InternalError, "a build in a folder that is none")
            with self._watch.paused(pid):
                async with self._slot(namespace, clock):
                    return await self._run(scratch, request)

        return typed({Run: run}, Turns())  # whoever asks for very many has its own turns between them

    @asynccontextmanager
    async def _slot(self, namespace: str, clock: Clock) -> AsyncIterator[None]:
        held = self._slots.held(namespace)
        with clock.waiting():
            await held.__aenter__()
        try:
            with clock.turn():
                yield
        finally:
            await held.__aexit__()

    async def _run(self, scratch: Path, request: Run) -> Ran | Failed:
        where = temporary(scratch.parent.parent)
        try:
            with outputs.made(scratch, request.work) as output:
                left = await self._kustomize.build_into(scratch / request.work, request.target, output)
                if left.status > 0 and outputs.full(output[0]):
                    # It says so itself, but in a file that has no room for it.
                    return Failed.of(
                        cache_problem(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), what=where)
                    )
        except Problem as problem:
            return Failed.of(problem)
        except OSError as error:
            return Failed.of(cache_problem(error, Reason.RenderFailed, where))
        return Ran(left.status, left.stopped.name if left.stopped else "")
