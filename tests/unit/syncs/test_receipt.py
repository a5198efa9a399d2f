"""The operator uses what a worker sends only if all of it has the form of objects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from setpoint.api.reasons import Problem, Reason
from setpoint.syncs.receipt import BATCH, received
from setpoint.wall.messages import Made


def made(name: Any) -> Made:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    return Made(f"{name}.yaml:1", 1, 1, manifest)


async def test_objects_are_taken_with_their_places() -> None:
    (taken,) = await received([made("a")])
    assert (taken.where, taken.manifest) == ("a.yaml:1", made("a").manifest)
    assert await received([]) == []


@pytest.mark.parametrize("at", [0, BATCH - 1, BATCH, 2 * BATCH])
async def test_one_that_is_none_spoils_all(at: int) -> None:
    objects = [made("a")] * (2 * BATCH + 1)
    objects[at] = made(1)
    with pytest.raises(Problem) as caught:
        await received(objects)
    assert caught.value.reason is Reason.InternalError
    assert f"object {at + 1} of what the worker made has no metadata.name" in caught.value.message


async def test_others_have_their_turn_between_batches() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    before = turns
    await received([made("a")] * (3 * BATCH))
    task.cancel()
    assert turns - before >= 2
