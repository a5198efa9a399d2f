"""Runs kustomize: the program, its arguments, and what it knows of its surroundings (shell)."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from setpoint.api.budgets import MIB
from setpoint.api.reasons import Problem, Reason
from setpoint.fences.launching import LaunchError, Observer
from setpoint.fences.policy import Policy
from setpoint.render.sandbox import POLICY, Completed, Left, Limits, Sandbox

T = TypeVar("T")
LIMITS = Limits(60.0, 512 * MIB, 32 * MIB)


class Kustomize(Protocol):
    """Builds folders, here or wherever it is asked to be done."""

    @property
    def limits(self) -> Limits:
        """What a build may take, for messages."""

    async def build(self, work: Path, target: str) -> Completed:
        """Build the folder `target` of the work folder, whatever comes of it. Raises Problem if it cannot be started."""

    def close(self) -> None:
        """End the processes that run."""


class Program:
    """Builds in processes of this machine."""

    def __init__(
        self,
        program: Path,
        limits: Limits = LIMITS,
        policy: Policy = POLICY,
        observer: Observer | None = None,
    ) -> None:
        """`program`: a path or a name on PATH. `policy`: of the fence of each build; `observer` is told of each."""
        self._program, self.limits = program, limits
        self.sandbox = Sandbox(policy, observer)

    async def build(self, work: Path, target: str) -> Completed:
        """Build the folder `target` of the work folder, whatever comes of it. Raises Problem if it cannot be started."""
        environment = _environment(work, self.limits)
        return await _started(self.sandbox.run(self._argv(target), work, environment, self.limits))

    async def build_into(self, work: Path, target: str, output: tuple[int, int]) -> Left:
        """Build as `build` does, and print into two open files."""
        environment = _environment(work, self.limits)
        return await _started(
            self.sandbox.run_into(self._argv(target), work, environment, self.limits, output)
        )

    def close(self) -> None:
        """End the processes that run."""
        self.sandbox.close()

    def _argv(self, target: str) -> list[str]:
        return [self._found(), "build", target, "--load-restrictor", "LoadRestrictionsRootOnly"]

    def _found(self) -> str:
        if found := shutil.which(self._program):
            return str(Path(found).absolute())
        raise Problem(
            Reason.RenderFailed,
            f"the program {self._program.name} was not found; install it, or set SETPOINT_KUSTOMIZE to its path",
        )


async def _started(run: Awaitable[T]) -> T:
    try:
        return await run
    except LaunchError as error:
        raise Problem(Reason.RenderFailed, f"kustomize could not be started: {error}", retry=True) from None


def _environment(work: Path, limits: Limits) -> Mapping[str, str]:
    """Return all that the process knows of its surroundings; an empty PATH, so that it finds no git.

    Builds are short: without garbage collection below the soft limit they take a third less time.
    """
    soft = f"{limits.memory * 3 // 4}B"
    home = str(work)
    return {"PATH": home, "HOME": home, "TMPDIR": home, "GOMAXPROCS": "2", "GOGC": "off", "GOMEMLIMIT": soft}
