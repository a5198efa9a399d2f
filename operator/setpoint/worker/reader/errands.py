"""Builds with kustomize where the broker does it: a reader starts no process (shell)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from setpoint.api.reasons import Problem, Reason
from setpoint.link.caller import Caller
from setpoint.render.sandbox import Completed, Limits, Stopped
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.inside import Ran, Run
from setpoint.wall.messages import Failed
from setpoint.worker.folders import outputs


class Errand:
    """Implements `render.program.Kustomize` by asking the broker."""

    def __init__(self, caller: Caller, limits: Limits) -> None:
        """`limits`: of a build, which the broker holds it to."""
        self._caller, self.limits = caller, limits

    async def build(self, work: Path, target: str) -> Completed:
        """Build the folder `target` of the work folder, whatever comes of it. Raises Problem if it cannot be started."""
        try:
            return await self._build(work, target)
        finally:
            outputs.remove(work)

    async def _build(self, work: Path, target: str) -> Completed:
        try:
            answer = await self._caller.call(Run(work.name, target))
        except (ProtocolError, WorkerGone):
            raise Problem(
                Reason.RenderFailed, "the worker ended in the middle of a build", retry=True
            ) from None
        if isinstance(answer, Failed):
            raise answer.problem()
        assert isinstance(answer, Ran)  # noqa: S101 - no other answer fits
        stopped = Stopped[answer.stopped] if answer.stopped else None
        return Completed(answer.status, *await asyncio.to_thread(outputs.read, work), stopped)

    def close(self) -> None:
        """Nothing runs here."""
