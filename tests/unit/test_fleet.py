"""Which Sync a change of a live object concerns, and what it makes of a failure."""

from __future__ import annotations

import pytest
from tests.unit.samples import KEY, observed, oid, ownership

from setpoint.claims import Claims
from setpoint.fleet import Fleet
from setpoint.objects import Observed, SyncKey
from setpoint.reasons import Problem, Reason
from setpoint.store import Store

STUCK = ("d1", Problem(Reason.Immutable, "a.yaml:1: spec.clusterIP"))


@pytest.mark.parametrize(
    ("after", "again"),
    [
        (None, True),
        (observed("a", uid="another"), True),
        (observed("a", ownership=ownership("o2")), True),
        (observed("a", resource_version=99), False),
    ],
    ids=["deleted", "made-anew", "edited", "status"],
)
def test_what_failed_is_tried_again_when_the_object_was_touched(after: Observed | None, again: bool) -> None:
    woken: list[SyncKey] = []
    fleet = Fleet(Store(), Claims(), "cluster", woken.append)
    before = observed("a", sync_label=fleet.label(KEY))
    body = {"metadata": {"namespace": KEY.namespace, "name": KEY.name}}
    fleet.seen(body)
    fleet.memory(KEY).failed[oid("a")] = STUCK
    fleet.changed(oid("a"), before, after)
    assert (oid("a") not in fleet.memory(KEY).failed) is again
    assert woken[-1:] == [KEY]
