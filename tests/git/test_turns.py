"""The turns of processes that talk to Git servers: whose time a wait is; which one ends for another: tests/unit/runtime/test_pool.py."""

from __future__ import annotations

import asyncio

import pytest
from tests.kit.virtualtime import run

from setpoint.api.reasons import Problem
from setpoint.git.fetching import _Limit
from setpoint.git.remotes import Repository, parse_url


def test_the_wait_for_a_turn_is_not_the_servers_time() -> None:
    async def main() -> None:
        repository = Repository(parse_url("https://git.example.org/app"))

        async def work(seconds: float) -> None:
            async with _Limit(5.0, repository) as limit:
                await asyncio.sleep(2)
                with limit.paused():
                    await asyncio.sleep(100)
                await asyncio.sleep(seconds)

        await work(2.5)
        with pytest.raises(Problem, match="no answer within 5 s"):
            await work(3.5)

    run(main())
