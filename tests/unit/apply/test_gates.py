"""What a wave waits for, and what is told of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from tests.kit.samples import KEY, observed, oid

from setpoint.api import names
from setpoint.apply.applier import EARLIER, NEW_CRD, _late
from setpoint.apply.gates import Gates
from setpoint.apply.result import ApplyResult
from setpoint.health.verdict import Health, Verdict
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Observed
from setpoint.plan.desired import Desired
from setpoint.plan.order import stages

SLOW = Verdict(Health.Progressing, "Progressing", "0 of 1 pods ready")


def desired(name: str, wave: int) -> Desired:
    manifest = {"metadata": {"name": name, "annotations": {names.ANNOTATION_WAVE: str(wave)}}}
    return Desired(oid(name), manifest, "d", f"{name}.yaml:1", None)


async def test_what_may_not_be_written_holds_a_wave_as_if_it_were_not_there() -> None:
    theirs = observed("a", owner=SyncKey("elsewhere", "other"), verdict=SLOW)
    live = SimpleNamespace(get={oid("a"): theirs}.get)
    everything = [desired("a", 0), desired("b", 1)]
    gates = Gates(KEY, everything, cast("Any", live), cast("Any", None), {})
    first, second = stages(everything)
    assert await gates.wave(first) is None
    assert await gates.wave(second) == "wave 0: ConfigMap/shop/a (0 of 1 pods ready)"
    hidden = await gates.wave(second, frozenset([oid("a")]))
    assert hidden == "wave 0: ConfigMap/shop/a is not there yet"
    del theirs
    live.get = {}.get
    assert await gates.wave(second) == hidden


async def test_as_many_waves_as_objects_cost_one_look_at_each() -> None:
    everything, looks = [desired(f"o{n}", n) for n in range(300)], list[ObjectId]()

    def look(each: ObjectId) -> Observed:
        looks.append(each)
        return observed(each.name)

    live = SimpleNamespace(get=look)
    gates = Gates(KEY, everything, cast("Any", live), cast("Any", None), {})
    for stage in stages(everything):
        assert await gates.wave(stage) is None
    assert len(looks) == 299


async def test_what_waits_for_its_crd_holds_later_waves_though_the_one_before_it_is_healthy() -> None:
    live = SimpleNamespace(get={oid("a"): observed("a")}.get)
    everything = [desired("a", 0), desired("b", 1)]
    gates = Gates(KEY, everything, cast("Any", live), cast("Any", None), {})
    first, second = stages(everything)
    assert await gates.wave(second) is None
    late = _late(ApplyResult(deferred={oid("a"): f"waits: {NEW_CRD}", oid("b"): EARLIER}))
    gates = Gates(KEY, everything, cast("Any", live), cast("Any", None), {})
    assert await gates.wave(first, late=late) is None
    assert await gates.wave(second, late=late) == f"wave 0: ConfigMap/shop/a waits: {NEW_CRD}"
