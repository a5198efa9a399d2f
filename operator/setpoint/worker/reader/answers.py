"""What a reader answers (shell)."""

from __future__ import annotations

import asyncio

from setpoint.api.reasons import Problem
from setpoint.render.renderer import Renderer
from setpoint.tree.changes import EVERYTHING, compare
from setpoint.wall.messages import (
    Build,
    Built,
    Compare,
    Compared,
    Drop,
    Failed,
    Lost,
    Objects,
    Placed,
    Places,
    Same,
)
from setpoint.worker.reader.builds import Builds
from setpoint.worker.reader.commits import Commits
from setpoint.worker.reader.read_sets import ReadSets


class Answers:
    """Reads commits, for one namespace. Use it from one event loop."""

    def __init__(self, commits: Commits, renderer: Renderer, read_sets: ReadSets) -> None:
        self._commits, self._renderer, self._read_sets = commits, renderer, read_sets
        self._builds = Builds(commits, renderer, read_sets)

    async def compare(self, request: Compare) -> Compared:
        """Find out which read sets a step between two commits touches."""
        return await asyncio.to_thread(self._compared, request)

    async def build(self, request: Build) -> Built | Same | Lost | Failed:
        """Make the objects of a commit, unless they are known already."""
        return await self._builds.build(request)

    async def objects(self, request: Objects) -> Built | Lost | Failed:
        """Give objects that are known by their digest once more."""
        return await self._builds.objects(request)

    async def places(self, request: Places) -> Placed:
        """Find the files that objects come from."""
        return await self._builds.places(request)

    def drop(self, request: Drop) -> None:
        """Forget what nobody needs any more."""
        for digest in request.digests:
            self._renderer.drop(digest)
        self._read_sets.drop(request.read_sets)

    def _compared(self, request: Compare) -> Compared:
        handle, submodules = request.handle, request.submodules
        try:
            old = self._commits.tree(handle, request.old, submodules=submodules)
            new = self._commits.tree(handle, request.new, submodules=submodules)
            changes = (
                compare(old, new, self._renderer.budgets)
                if old is not None and new is not None
                else EVERYTHING
            )
        except Problem:
            return Compared(everything=True)
        if changes == EVERYTHING:
            return Compared(everything=True)
        return Compared(self._read_sets.touched(changes, request.read_sets))
