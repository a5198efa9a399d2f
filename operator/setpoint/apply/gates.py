"""Decides what a stage waits for: kinds of the same commit, earlier waves, and the servers of webhooks (shell)."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType

from setpoint.health import accepted, claims
from setpoint.health.verdict import Health, Verdict
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Observed
from setpoint.plan.desired import Desired, Phase
from setpoint.plan.order import Stage, is_blocking, is_storage_class, servers_of, stages
from setpoint.watch.protocol import LiveObjects, Storage


class Gates:
    """What a stage waits for: earlier waves, and what serves a webhook before the webhook. Ask for stages in their order."""

    def __init__(
        self,
        key: SyncKey,
        everything: Sequence[Desired],
        informers: LiveObjects,
        storage: Storage,
        ended: Mapping[ObjectId, Verdict],
    ) -> None:
        """`everything` is the whole commit of the Sync `key`, in sync or not; `ended`: what of it is done."""
        self._ended = ended
        self._key, self._everything, self._informers, self._storage = key, everything, informers, storage
        self._stages, self._ready = stages(everything), 0
        self._brought = [claims.storage_class(d.manifest) for d in everything if is_storage_class(d.id)]

    async def wave(
        self,
        stage: Stage,
        hidden: Container[ObjectId] = frozenset(),
        late: Mapping[ObjectId, str] = MappingProxyType({}),
    ) -> str | None:
        """Return an unhealthy object of an earlier wave, in words; None if the stage may begin.

        What is `hidden` the identity may not write: nothing is told of it, and it counts as missing. What is `late`
        was to be written, and says why it was not: the one before it may well be healthy.
        """
        if stage.phase is not Phase.WAVES:
            return None
        # What was ready for one stage is not asked again for the next: there may be as many as objects.
        while self._ready < len(self._stages):
            earlier = self._stages[self._ready]
            if earlier.phase is Phase.WAVES:
                if earlier.wave >= stage.wave:
                    break
                for d in earlier.objects:
                    if d.id in late:
                        return f"wave {earlier.wave}: {d.id.label()} {late[d.id]}"
                    if words := unready(d.id, None) if d.id in hidden else await self._holding(d.id):
                        return f"wave {earlier.wave}: {words}"
            self._ready += 1
        return None

    async def _holding(self, oid: ObjectId) -> str | None:
        """Return in words that an object holds the waves after its own."""
        seen = self._informers.get(oid)
        if seen is None:
            done = self._ended.get(oid)
            return unready(oid, seen) if done is None else _failed(oid, done)
        late = await self._binds_late(seen.unbound) if seen.unbound else False
        held = accepted.holds(oid.group, oid.kind, seen.verdict, deleting=seen.deleting, late=late)
        return unready(oid, seen) if held else None

    async def _binds_late(self, claim: claims.Unbound) -> bool | None:
        return claims.binds_late(claim, await self._storage.want(self._key), self._brought)

    def served(self, d: Desired) -> str | None:
        """Return the workload of this commit, in words, that must be healthy before a webhook or APIService is created."""
        if not is_blocking(d.id):
            return None
        for oid in servers_of(d.manifest, self._everything):
            if words := unready(oid, self._informers.get(oid)):
                return words
        return None


def _failed(oid: ObjectId, done: Verdict) -> str | None:
    """Return the sentence that an object failed that is gone by itself; None if it did not."""
    return f"{oid.label()} ({done.message})" if done.health is Health.Degraded else None


def unready(oid: ObjectId, seen: Observed | None) -> str | None:
    """Return the sentence that an object is not healthy; None if it is."""
    if seen is None:
        return f"{oid.label()} is not there yet"
    if seen.verdict.health in (Health.Healthy, Health.Suspended):
        return None
    return f"{oid.label()} ({seen.verdict.message or seen.verdict.reason})"
