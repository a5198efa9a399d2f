"""A commit that concerns a Sync in nothing costs no run, and the next run knows that all is the same there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.kit import virtualtime
from tests.kit.samples import observed, oid
from tests.kit.syncworld import BROKEN, INTERVAL, KEY, NEXT, SHA, SOURCE, World

from setpoint.sources.changes import NOTHING


def test_a_run_takes_up_what_it_knows_at_the_commit_that_needed_none(tmp_path: Path) -> None:
    async def play() -> None:
        world = World(tmp_path)
        world.live.there = {oid("a"): observed("a")}
        fleet = world._syncs._dispatcher
        working = asyncio.create_task(world.controller.run())
        world.sync(1)
        await asyncio.sleep(1)
        built, runs = fleet.memory(KEY).built, world.runs
        assert built.good is not None
        assert built.good.sha == SHA
        world.sources.sha = NEXT
        fleet.commit_changed(SOURCE, SHA, NEXT, NOTHING)
        await asyncio.sleep(INTERVAL / 2)
        assert world.runs == runs
        assert fleet.has_seen(KEY, NEXT, 1)
        world.sources.sha, world.sources.content = "3" * 40, BROKEN
        world.queue.add(KEY)
        await asyncio.sleep(1)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert world.condition("Ready") == ("False", "RenderFailed")
        built = fleet.memory(KEY).built
        assert built.good is not None
        assert built.good is built.target
        assert built.good.sha == NEXT, "what was applied last is to be had at the newer commit, too"

    virtualtime.run(play())
