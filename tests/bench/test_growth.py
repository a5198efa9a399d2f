"""A commit costs the same however many Syncs there are: requests and reconciles, counted; the clock is not asked."""

from __future__ import annotations

import asyncio

import pytest
from tests.bench import growth, workload
from tests.bench.actions import Actions
from tests.bench.report import Figures
from tests.bench.stage import repository, staged

pytestmark = pytest.mark.cluster
FEW, MANY = 3, 24


def test_a_commit_reconciles_the_syncs_that_it_touches_and_no_others() -> None:
    async def measured() -> list[growth.Point]:
        async with staged() as stage:
            with repository(workload.repository(MANY)) as (repo, url), stage.operator() as operator:
                do = Actions(stage, operator, repo)
                await do.source(url)
                return await growth.grown(do, (FEW, MANY), Figures(), lambda _: None)

    few, many = asyncio.run(measured())
    # The Deployment's own events wake its Sync too: at its new spec, and once or more at its new status.
    assert 1 <= few.least_reconciles < MANY // 2
    assert 1 <= many.least_reconciles < MANY // 2
    assert many.least_requests <= few.least_requests + 3
