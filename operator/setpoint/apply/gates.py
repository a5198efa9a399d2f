"""What a stage waits for: kinds that the commit brings itself, earlier waves, and what serves a webhook (shell)."""

from __future__ import annotations

from collections.abc import Sequence

from setpoint.health.verdict import Health
from setpoint.objects.identity import ObjectId
from setpoint.objects.observed import Observed
from setpoint.plan.desired import Desired, Phase
from setpoint.plan.order import Stage, is_blocking, servers_of, stages
from setpoint.watch.informers import Informers


class Gates:
    """What a stage waits for: earlier waves healthy, and what serves a webhook before the webhook."""

    def __init__(self, everything: Sequence[Desired], informers: Informers) -> None:
        """`everything` is the whole commit, in sync or not."""
        self._everything, self._informers = everything, informers
        self._stages = stages(everything)

    def wave(self, stage: Stage) -> str | None:
        """Return which object of an earlier wave is not healthy; None if the stage may go."""
        if stage.phase is not Phase.WAVES:
            return None
        for earlier in self._stages:
            if earlier.phase is Phase.WAVES and earlier.wave < stage.wave:
                for d in earlier.objects:
                    if words := unready(d.id, self._informers.get(d.id)):
                        return f"wave {earlier.wave}: {words}"
        return None

    def served(self, d: Desired) -> str | None:
        """Return which workload of this commit must be healthy before a webhook or APIService is made."""
        if not is_blocking(d.id):
            return None
        for oid in servers_of(d.manifest, self._everything):
            if words := unready(oid, self._informers.get(oid)):
                return words
        return None


def unready(oid: ObjectId, seen: Observed | None) -> str | None:
    """Return in words that an object is not healthy; None if it is."""
    if seen is None:
        return f"{oid.label()} is not there yet"
    if seen.verdict.health in (Health.Healthy, Health.Suspended):
        return None
    return f"{oid.label()} ({seen.verdict.message or seen.verdict.reason})"
