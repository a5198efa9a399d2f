"""A bug that ends a run reaches whoever looks at the Sync, and takes nothing away that was told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.kit import virtualtime
from tests.kit.samples import observed, oid
from tests.kit.syncworld import BROKEN, INTERVAL, KEY, NEXT, World

from setpoint.syncs.steps.reporter import BUG
from setpoint.wall.errors import WorkerGone


def bug(*_: Any) -> Any:
    raise KeyError("a bug")


def rest(status: Any) -> Any:
    conditions = [c for c in status["conditions"] if c["type"] == "Healthy"]
    return {**status, "conditions": conditions}


def test_a_run_that_ends_by_a_bug_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        world = World(tmp_path)
        world.live.there = {oid("a"): observed("a")}
        working = asyncio.create_task(world.controller.run())
        world.sync(1)
        await asyncio.sleep(1)
        assert world.condition("Ready") == ("True", "Succeeded")
        before, world.runs, world.cluster.patches = world.status, 0, 0
        with monkeypatch.context() as broken:
            broken.setattr(world.sources, "tree", bug)
            world.sources.sha = NEXT
            world.queue.add(KEY)
            await asyncio.sleep(INTERVAL / 2)
            assert world.condition("Ready") == world.condition("Synced") == ("False", "InternalError")
            assert {c["message"] for c in world.status["conditions"] if c["type"] != "Healthy"} == {BUG}
            assert rest(world.status) == rest(before)
            assert world.cluster.patches == 1
            assert 3 <= world.runs <= 12, "it is tried again, and ever later"
        await asyncio.sleep(INTERVAL)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert world.condition("Ready") == ("True", "Succeeded")

    virtualtime.run(play())


def test_a_worker_that_is_gone_is_no_failure_of_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        world = World(tmp_path)
        working = asyncio.create_task(world.controller.run())
        world.sync(1)
        await asyncio.sleep(1)
        before, world.runs, world.cluster.patches = world.status, 0, 0

        async def gone(_request: Any) -> Any:
            raise WorkerGone("dead")

        with monkeypatch.context() as dead:
            dead.setattr(world.worker, "build", gone)
            world.sources.sha, world.sources.content = NEXT, BROKEN
            world.queue.add(KEY)
            await asyncio.sleep(4.5)
            assert (world.status, world.cluster.patches) == (before, 0)
            assert 4 <= world.runs <= 6, "each second, and never later"
        await asyncio.sleep(1)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert world.condition("Ready") == ("False", "RenderFailed")

    virtualtime.run(play())


def test_a_sync_of_which_nothing_was_told_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        world = World(tmp_path)
        monkeypatch.setattr(world.sources, "tree", bug)
        working = asyncio.create_task(world.controller.run())
        world.sync(1)
        await asyncio.sleep(1)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert world.condition("Ready") == world.condition("Synced") == ("False", "InternalError")
        assert world.status["observedGeneration"] == 1

    virtualtime.run(play())
