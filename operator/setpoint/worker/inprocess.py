"""The worker in the operator's own process: the same answers, without a fence of its own (shell)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Self

from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem
from setpoint.git.repositories import Git
from setpoint.render.renderer import Renderer
from setpoint.settings import Settings
from setpoint.tree.changes import EVERYTHING, compare
from setpoint.wall.messages import (
    Build,
    Built,
    Check,
    Checked,
    Compare,
    Compared,
    Drop,
    Failed,
    Fetch,
    Fetched,
    Lost,
    Objects,
    Placed,
    Places,
    Same,
)
from setpoint.worker.builds import Builds
from setpoint.worker.commits import Commits
from setpoint.worker.fences import fences
from setpoint.worker.read_sets import ReadSets

log = logging.getLogger(__name__)


class InProcess:
    """Answers requests (`wall.protocol.Worker`). Use it from one event loop, and `close` it at the end."""

    def __init__(self, git: Git, renderer: Renderer, *, allow_file: bool) -> None:
        self._git, self._renderer = git, renderer
        self.commits, self._read_sets = Commits(git, allow_file=allow_file), ReadSets()
        self._builds = Builds(self.commits, renderer, self._read_sets)

    @classmethod
    def of(cls, settings: Settings, hosts: HostRules) -> Self:
        """Return a worker as the settings have it; `hosts`: where it may connect to."""
        cache, policy = Path(settings.cache_dir), fences(settings)
        log.log(logging.INFO if policy.abi else logging.WARNING, "children are fenced by %s", policy)
        renderer = Renderer(
            Path(settings.kustomize),
            cache / "render",
            concurrency=settings.render_concurrency,
            timeout=settings.render_timeout,
            memory_limit=settings.render_memory,
            budgets=settings.budgets,
            policy=policy,
        )
        children = settings.git_processes
        git = Git(
            cache / "git",
            cache_limit=settings.cache_size,
            children=children,
            hosts=hosts,
            budgets=settings.budgets,
            policy=policy,
        )
        return cls(git, renderer, allow_file=settings.allow_file_urls)

    async def close(self) -> None:
        """End the processes that run."""
        self._renderer.close()
        await self._git.close()

    async def check(self, request: Check) -> Checked | Failed:
        """Ask a remote what a ref stands for, and fetch that commit if it is not there."""
        return await self.commits.check(request)

    async def fetch(self, request: Fetch) -> Fetched | Lost | Failed:
        """Find an older commit, in the cache or at the server."""
        return await self.commits.fetch(request)

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
        self.commits.forget(request.namespace, request.handles)

    def _compared(self, request: Compare) -> Compared:
        handle, submodules = request.handle, request.submodules
        try:
            old = self.commits.tree(handle, request.old, submodules=submodules)
            new = self.commits.tree(handle, request.new, submodules=submodules)
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
