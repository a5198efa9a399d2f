"""With `drift: Report`: what a look at objects comes to."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from tests.kit.samples import KEY, Woken, context, observed, oid, reached, ref, target
from tests.kit.syncworld import Live

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.applier import Applier
from setpoint.apply.dry_run import DryRun, Session
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Evaluation, Reached
from setpoint.syncs.steps.drift_log import DriftLog
from setpoint.syncs.steps.object_writer import ObjectWriter

OID = oid("a")
GIT = Desired(OID, {}, "d1", "a.yaml:1", None)
LIVE: dict[str, Any] = {"metadata": {"name": "a", "namespace": "shop", "resourceVersion": "8"}}


def looked(found: DryRun | tuple[Desired, Problem], live: Live) -> tuple[Reached, Memory]:
    """Return what a run comes to that looks at one object and finds this."""
    fleet = Dispatcher(Store(), Claims(), "c", Woken())
    memory = fleet.memory(KEY)
    who = SimpleNamespace(people=frozenset())
    parts: Any = SimpleNamespace(cluster=None, informers=live, storage=None, limit=None, who=who)
    applier = Applier(cast("Session", parts))

    async def check(_: Any) -> list[Any]:
        return [found]

    setattr(applier, "check", check)  # noqa: B010 - in place of an API server
    actors: Any = SimpleNamespace(applier=lambda *_, **__: applier)
    gatherer: Any = SimpleNamespace(look=live.get)
    none = cast("Any", None)
    log = DriftLog(live, b"", none, fleet)
    writer = ObjectWriter(gatherer, none, actors, none, fleet, none, log, none)
    run = reached(ctx=context(drift="Report"), changed=False, todo=(ref("a"),))
    evaluation = Evaluation(target=target(ref("a")), manifests=(GIT,))
    return asyncio.run(writer.write(evaluation, memory, run)), memory


def test_what_is_as_it_should_be_is_known_to_be_though_the_watch_is_ahead() -> None:
    """A controller writes the status meanwhile, which starts no other run: nobody would look again before the interval."""
    live = Live()
    live.listed = {"ConfigMap"}
    live.there[OID] = observed("a", resource_version=9)
    run, memory = looked(DryRun(GIT, Change(OID, Action.KEEP), LIVE), live)
    base = memory.account.baselines[OID]
    assert (base.digest, base.version, run.corrections) == ("d1", 8, ())


def test_what_may_pass_is_tried_again() -> None:
    for problem in (Problem(Reason.ApiUnavailable, "503"), Problem(Reason.Waiting, "is being deleted", True)):
        assert problem.transient
        assert looked((GIT, problem), Live())[0].retry
    assert not looked((GIT, Problem(Reason.Invalid, "422")), Live())[0].retry
