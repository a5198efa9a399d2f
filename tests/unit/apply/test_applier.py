"""What an applier says of rights before it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

from tests.kit.samples import KEY, baseline, oid

from setpoint.api import names
from setpoint.apply.applier import Applier
from setpoint.apply.claiming import Intent
from setpoint.apply.dry_run import DryRun
from setpoint.health.verdict import Health, Verdict
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired
from setpoint.plan.drift import Baseline

KIND = Kind("", "v1", "ConfigMap", "configmaps", True, frozenset())
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", False, frozenset())
JOB = Kind("batch", "v1", "Job", "jobs", True, frozenset())
A, B = (Desired(oid(n), {"metadata": {"name": n}}, "d", f"{n}.yaml:1", KIND) for n in "ab")


def job(name: str, wave: str) -> Desired:
    """Return a Job that is gone as soon as it is finished."""
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": {names.ANNOTATION_WAVE: wave}},
        "spec": {"ttlSecondsAfterFinished": 0},
    }
    return Desired(ObjectId("batch", "Job", "shop", name), manifest, "d", f"{name}.yaml:1", JOB)


class Steps:
    """Finds that `a` may have come to its own end, and that all others are not there; notes what is written."""

    def __init__(self, events: list[Any]) -> None:
        self._events = events

    async def check(self, desired: Sequence[Desired]) -> list[DryRun]:
        keep = Change(A.id, Action.KEEP)
        return [
            DryRun(d, keep) if d is A else DryRun(d, Change(d.id, Action.CREATE), predicted=d.manifest)
            for d in desired
        ]

    async def write(self, checked: DryRun) -> Baseline:
        self._events.append(checked.desired.id.name)
        return baseline()


async def converged(*todo: Desired, live: Mapping[ObjectId, Any] = MappingProxyType({})) -> list[Any]:
    """Return what was claimed and written, in this order."""
    events: list[Any] = []
    who = SimpleNamespace(key=KEY, create_namespace=None, abort=True, ended={}, hidden=frozenset(), people=())
    cluster = SimpleNamespace(kinds_named=lambda _name: (), kind=lambda *_: None)
    session = SimpleNamespace(cluster=cluster, informers=live, storage=None, limit=None, who=who)
    applier = Applier(cast("Any", session))
    applier._checker = applier._writer = cast("Any", Steps(events))

    async def claim(intent: Intent) -> None:
        events.append(intent)

    await applier.converge(todo, todo, claim)
    return events


async def test_what_may_have_come_to_its_own_end_was_not_tried() -> None:
    claimed, written = await converged(A, B)
    assert written == "b"
    assert claimed.passed == {B.id}


async def test_a_job_that_a_wave_holds_does_not_begin_yet() -> None:
    """Else a crash would count it as done, although it never ran."""
    now, held = job("now", "0"), job("held", "1")
    claimed, written, *more = await converged(now, held)
    assert (written, more) == ("now", [])
    assert claimed.passed == {now.id, held.id}
    assert [d.id.name for d, _ in claimed.begins] == ["now"]


async def test_a_job_whose_stage_has_more_to_try_does_not_begin_with_the_first_claim() -> None:
    """Its pod waits for a ServiceAccount, which may be refused: then the whole stage is not written."""
    now = job("now", "0")
    account = Desired(
        ObjectId("", "Namespace", "", "new"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}},
        "d",
        "n.yaml:1",
        NAMESPACE,
    )
    inside = replace(job("inside", "0"), id=ObjectId("batch", "Job", "new", "inside"))
    told = await converged(account, now, inside)
    told = [e if isinstance(e, str) else [d.id.name for d, _ in e.begins] for e in told]
    assert told.index("new") < told.index(["inside", "now"]) < told.index("now")


async def test_a_job_begins_with_its_own_wave() -> None:
    done = SimpleNamespace(verdict=Verdict(Health.Healthy, "Complete", ""), deleting=False, unbound=None)
    first, last = job("first", "0"), job("last", "1")
    told = await converged(first, last, live={first.id: done})
    told = [e if isinstance(e, str) else [d.id.name for d, _ in e.begins] for e in told]
    assert told == [["first"], "first", ["last"], "last"]
