"""A Sync that does not act is judged, after a restart, by what is in the cluster, and not by what nobody looked at."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.kit import virtualtime
from tests.kit.samples import observed, oid
from tests.kit.syncworld import BROKEN, INTERVAL, SHA, World

TOLD = {
    "applied": {
        "revision": f"main@sha1:{SHA}",
        "short": "main@1111111",
        "digest": "x",
        "at": "2026-01-01T00:00:00Z",
    },
    "inventory": [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "names": ["a"]}],
}


async def told(
    folder: Path,
    status: Any,
    *,
    listed: bool,
    watched: bool,
    forbidden: bool = False,
    there: bool = True,
    **spec: Any,
) -> World:
    """An operator that begins with this status, once it is quiet; `listed`: others have the same kinds."""
    world = World(folder)
    world.sources.content = BROKEN
    world.live.there = {oid("a"): observed("a")} if there else {}
    world.live.listed = {"ConfigMap"} if listed else set()
    world.live.refused = set() if watched else {"ConfigMap"}
    world.cluster.forbids = forbidden
    world.stored(status)
    working = asyncio.create_task(world.controller.run())
    world.sync(1, **spec)
    await asyncio.sleep(INTERVAL / 2)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return world


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "unwatched"])
@pytest.mark.parametrize(
    "spec", [{"suspend": True}, {}, {"drift": "Report"}], ids=["suspended", "broken", "reports"]
)
def test_a_restart_is_no_news_of_health(tmp_path: Path, spec: Any, watched: bool) -> None:
    async def play() -> None:
        before = await told(tmp_path, TOLD, listed=True, watched=True, **spec)
        assert before.condition("Healthy") == ("True", "Succeeded")
        after = await told(tmp_path, before.status, listed=False, watched=watched, **spec)
        assert after.condition("Healthy") == ("True", "Succeeded")
        assert (after.runs, after.cluster.patches) == (1, 0)

    virtualtime.run(play())


@pytest.mark.parametrize("spec", [{"suspend": True}, {}], ids=["suspended", "broken"])
def test_who_may_not_read_an_object_does_not_ask_again_and_again(tmp_path: Path, spec: Any) -> None:
    async def play() -> None:
        world = await told(tmp_path, TOLD, listed=False, watched=False, forbidden=True, **spec)
        assert (world.runs, world.condition("Ready")[1]) == (1, "Suspended" if spec else "RenderFailed")

    virtualtime.run(play())


BEGUN = {
    **TOLD,
    "endings": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": "shop",
            "state": "Running",
            "due": "2026-01-01T00:00:00Z",
            "digests": {"a": "0123456789"},
        }
    ],
}


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "unwatched"])
@pytest.mark.parametrize(
    "spec", [{"suspend": True}, {}, {"drift": "Report"}], ids=["suspended", "broken", "reports"]
)
def test_what_ended_by_itself_meanwhile_is_done(tmp_path: Path, spec: Any, watched: bool) -> None:
    async def play() -> None:
        world = await told(tmp_path, BEGUN, listed=False, watched=watched, there=False, **spec)
        [group] = world.status["endings"]
        assert (group["state"], group["gone"], group["digests"]) == ("Unknown", True, {"a": "0123456789"})
        assert (world.status["summary"]["completed"], world.condition("Healthy")[0]) == (1, "True")

    virtualtime.run(play())


def test_what_may_not_be_read_is_not_taken_for_done(tmp_path: Path) -> None:
    async def play() -> None:
        world = await told(tmp_path, BEGUN, listed=False, watched=False, forbidden=True, suspend=True)
        assert world.status["endings"] == BEGUN["endings"]

    virtualtime.run(play())
