"""What a status keeps for later runs: what left Git and was in use, and what was never tried."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.kit import virtualtime
from tests.kit.samples import KEY, context, observed, oid, reached, ref, target
from tests.kit.syncworld import Live, World

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.result import ApplyResult
from setpoint.objects.identity import ObjectId
from setpoint.objects.inventory import grouped
from setpoint.store.index import Store
from setpoint.syncs.run import Evaluation, PruneResult, Reached
from setpoint.syncs.steps.gatherer import Gatherer
from setpoint.syncs.steps.reporter import _leaving

A, B, C = oid("a"), oid("b"), oid("c")
GIT = Evaluation(target=target(ref("a")))


def after(pruned: PruneResult) -> Reached:
    return replace(reached(), ctx=replace(context({}), leaving={A: "v1", B: "v1"}), pruned=pruned)


def test_who_looked_knows_what_is_in_use() -> None:
    assert set(_leaving(GIT, after(PruneResult(in_use={C: "is used"})))) == {C}
    assert set(_leaving(GIT, after(PruneResult(in_use={})))) == set()


def test_where_nobody_looked_all_is_as_before_but_what_is_in_git_again() -> None:
    unseen = after(PruneResult(kept={B: "v1", C: "v1"}))
    assert list(_leaving(GIT, unseen)) == [B]
    assert list(_leaving(Evaluation(), unseen)) == [A, B]


def test_what_was_never_tried_stays_no_claim_while_a_sync_is_suspended_or_its_spec_is_wrong(
    tmp_path: Path,
) -> None:
    async def play(**spec: Any) -> None:
        world = World(tmp_path)
        entries, used = grouped([("v1", A)]), grouped([("v1", B)])
        world.stored({"inventory": grouped([("v1", A), ("v1", B)]), "wants": entries, "leaving": used})
        world.sync(1, **spec)
        working = asyncio.create_task(world.controller.run())
        await asyncio.sleep(1)
        world.sync(2, **spec)
        await asyncio.sleep(1)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert (world.status["wants"], world.status["leaving"]) == (entries, used)
        assert world.claims.owner(B) == KEY
        assert world.claims.owner(A) is None

    for spec in ({"suspend": True}, {"serviceAccountName": None}):
        virtualtime.run(play(**spec))


def test_what_names_the_sync_or_nobody_looked_for_stays_in_the_inventory_without_rights() -> None:
    live = Live()
    parts: tuple[Any, ...] = (None, live, Store(), None, None, None, None, None)
    ctx = context({"inventory": grouped([("v1", A), ("v1", B)]), "wants": grouped([("v1", A)])})
    no = Problem(Reason.Forbidden, "may not patch configmaps")
    run = reached(ctx=ctx, applied=ApplyResult(failed={A: no, B: no}))

    def left() -> frozenset[ObjectId]:
        return Gatherer(*parts).disown(run).disowned

    assert left() == {A}, "the watch of its kind ended, as the API server fails"
    live.listed, live.there = {"ConfigMap"}, {A: observed("a")}
    assert left() == {B}, "A was written, and a crash kept that from being told"
