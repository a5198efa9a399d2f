"""What left Git and was in use when somebody looked last: it does not count again for the prune limit."""

from __future__ import annotations

from dataclasses import replace

from tests.kit.samples import context, oid, reached, ref, target

from setpoint.syncs.run import Evaluation, PruneResult, Reached
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
