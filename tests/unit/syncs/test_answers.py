"""A request for a check is answered by a run that had the commit which the check found."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.kit import virtualtime
from tests.kit.memorytree import MemoryTree
from tests.kit.syncworld import INTERVAL, KEY, NEXT, SHA, World

ANOTHER = MemoryTree({"a.yaml": "# Another commit.\n"})


def test_a_check_that_ends_during_a_run_is_answered_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        world = World(tmp_path)
        world.sources.checked = False

        async def check(_kinds: Any) -> None:
            world.sources.checked, world.sources.sha, world.sources.content = True, NEXT, ANOTHER
            world.queue.add(KEY)
            monkeypatch.undo()

        monkeypatch.setattr(world.live, "require", check)
        working = asyncio.create_task(world.controller.run())
        world.sync(1, {"setpoint.dev/requested": "now"})
        await asyncio.sleep(INTERVAL / 2)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        told = [(s.get("requested"), s["desired"]["revision"][-40:]) for s in world.cluster.told]
        assert told == [(None, SHA), ("now", NEXT)]

    virtualtime.run(play())
