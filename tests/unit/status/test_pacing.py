"""A Sync that cannot do what is due waits: it is not looked at again and again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.kit import virtualtime
from tests.kit.syncworld import BROKEN, INTERVAL, KEY, NEXT, OBJECT, World

from setpoint.status import pacing


@pytest.mark.parametrize(
    ("waited", "complete", "expected"),
    [
        (100.0, True, 200.0),
        (100.0, False, 200.0),
        (300.0, True, 1.0),
        (300.0, False, None),
        (299.9, False, 1.0),
    ],
)
def test_a_rollout_is_looked_at_when_its_time_is_over(
    waited: float, complete: bool, expected: float | None
) -> None:
    assert pacing.rollout(waited, 300.0, complete=complete) == expected


@pytest.mark.parametrize(("due", "expected"), [(160.0, 60.0), (100.2, 1.0), (100.0, 600.0), (0.0, 600.0)])
def test_a_check_that_could_not_be_done_waits_another_interval(due: float, expected: float) -> None:
    assert pacing.safety_net(due, 100.0, INTERVAL) == expected


async def settled() -> None:
    await asyncio.sleep(INTERVAL / 10)


def suspend(world: World) -> tuple[str, str]:
    world.sync(2, suspend=True)
    return "False", "Suspended"


def break_render(world: World) -> tuple[str, str]:
    world.sources.sha, world.sources.content = NEXT, BROKEN
    world.queue.add(KEY)
    return "False", "RenderFailed"


def break_and_ask(world: World) -> tuple[str, str]:
    world.sources.sha, world.sources.content = NEXT, BROKEN
    world.sync(1, {"setpoint.dev/requested": "now"})
    return "False", "RenderFailed"


def depend(world: World) -> tuple[str, str]:
    world.sources.sha, world.sources.content = NEXT, OBJECT
    world.sync(2, dependsOn=[{"name": "other"}])
    return "False", "DependencyNotReady"


@pytest.mark.parametrize("hinder", [suspend, break_render, break_and_ask, depend])
def test_who_is_hindered_is_looked_at_once_in_an_interval(tmp_path: Path, hinder: Any) -> None:
    async def play() -> None:
        world = World(tmp_path)
        working = asyncio.create_task(world.controller.run())
        world.sync(1)
        await settled()
        assert world.condition("Ready") == ("True", "Succeeded")
        expected = hinder(world)
        await settled()
        assert world.condition("Ready") == expected
        await asyncio.sleep(INTERVAL)  # the check is due by now, and cannot be done
        world.runs, world.cluster.patches = 0, 0
        await asyncio.sleep(5 * INTERVAL)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert world.runs == (0 if hinder is suspend else 5)
        assert world.cluster.patches == 0

    virtualtime.run(play())
