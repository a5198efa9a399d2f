"""What an applier says of rights before it writes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from tests.kit.samples import KEY, baseline, oid

from setpoint.apply.applier import Applier, Intent
from setpoint.apply.dry_run import DryRun
from setpoint.objects.kinds import Kind
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired
from setpoint.plan.drift import Baseline

KIND = Kind("", "v1", "ConfigMap", "configmaps", True, frozenset())
A, B = (Desired(oid(n), {"metadata": {"name": n}}, "d", f"{n}.yaml:1", KIND) for n in "ab")


class Steps:
    """Finds that `a` may have come to its own end, and that `b` is not there."""

    async def check(self, desired: Sequence[Desired]) -> list[DryRun]:
        done, new = Change(A.id, Action.KEEP), Change(B.id, Action.CREATE)
        found = {A.id: DryRun(A, done), B.id: DryRun(B, new, predicted=B.manifest)}
        return [found[d.id] for d in desired]

    async def write(self, _checked: DryRun) -> Baseline:
        return baseline()


async def test_what_may_have_come_to_its_own_end_was_not_tried() -> None:
    who = SimpleNamespace(key=KEY, create_namespace=None, abort=True, ended={}, hidden=frozenset(), people=())
    cluster = SimpleNamespace(kinds_named=lambda _name: (), kind=lambda *_: None)
    live = SimpleNamespace(get=lambda _oid: None)
    session = SimpleNamespace(cluster=cluster, informers=live, storage=None, limit=None, who=who)
    applier, claimed = Applier(cast("Any", session)), list[Intent]()
    applier._checker = applier._writer = cast("Any", Steps())

    async def claim(intent: Intent) -> None:
        claimed.append(intent)

    result = await applier.converge([A, B], [A, B], claim)
    assert [c.id for c in result.written] == [B.id]
    assert [i.passed for i in claimed] == [{B.id}]
