"""Large answers are read one in a turn of the event loop, and small ones at once."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from setpoint.kube.bodies import LARGE, Bodies
from setpoint.kube.errors import ApiError

SMALL = b'{"kind":"ConfigMap"}'
BIG = orjson.dumps({"a": "x" * LARGE})


async def turns_of(bodies: list[bytes]) -> list[int]:
    """Read all at once; how many turns of the loop had begun when each was there."""
    turn, found, reader = 0, [], Bodies()

    async def count() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    async def read(text: bytes) -> None:
        assert await reader.read(text) == orjson.loads(text)
        found.append(turn)

    counting = asyncio.create_task(count())
    await asyncio.gather(*map(read, bodies))
    counting.cancel()
    return found


def test_of_large_bodies_one_is_read_in_a_turn() -> None:
    turns = asyncio.run(turns_of([BIG] * 5))
    assert len(set(turns)) == 5


def test_small_bodies_wait_for_nobody() -> None:
    assert set(asyncio.run(turns_of([SMALL] * 5))) == {asyncio.run(turns_of([SMALL]))[0]}
    assert asyncio.run(turns_of([BIG, SMALL, SMALL]))[:2] == asyncio.run(turns_of([SMALL, SMALL]))


@pytest.mark.parametrize("text", [b"", b"[]", b"nothing", b"{" + b" " * LARGE])
def test_what_is_no_object_is_told(text: bytes) -> None:
    with pytest.raises(ApiError, match="is not JSON"):
        asyncio.run(Bodies().read(text))
