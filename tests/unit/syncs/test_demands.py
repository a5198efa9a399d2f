"""What a run finds missing is what it demands of its Source when it ends, in place of what the run before demanded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.kit import virtualtime
from tests.kit.syncworld import INTERVAL, SOURCE, World

from setpoint.sources.demands import Demand


def demanded(folder: Path, prepare: Callable[[World], None], **annotations: str) -> list[Demand | None]:
    """Return what the first runs of a Sync demand."""
    world = World(folder)
    prepare(world)

    async def play() -> None:
        working = asyncio.create_task(world.controller.run())
        world.sync(1, annotations)
        await asyncio.sleep(INTERVAL / 2)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    virtualtime.run(play())
    return world.sources.demands


def test_a_run_that_lacks_nothing_demands_nothing(tmp_path: Path) -> None:
    assert set(demanded(tmp_path, lambda _world: None)) == {None}


def test_a_commit_that_the_cache_lost_is_demanded(tmp_path: Path) -> None:
    def lose(world: World) -> None:
        world.sources.held = False

    assert set(demanded(tmp_path, lose)) == {Demand(SOURCE, latest=True)}


def test_a_request_is_demanded_until_the_check_is_done(tmp_path: Path) -> None:
    def unchecked(world: World) -> None:
        world.sources.checked = False

    requested = {"setpoint.dev/requested": "now"}
    assert set(demanded(tmp_path, unchecked, **requested)) == {Demand(SOURCE, check="now")}
    assert set(demanded(tmp_path, lambda _world: None, **requested)) == {None}


def test_nothing_is_asked_of_a_source_that_is_not_for_this_sync(tmp_path: Path) -> None:
    """One of another namespace that does not allow this one is as good as none: it is not checked at a stranger's word."""

    def none(world: World) -> None:
        world.sources.checked = False
        world.store.drop_source(SOURCE, "s")

    assert set(demanded(tmp_path, none, **{"setpoint.dev/requested": "now"})) == {None}
