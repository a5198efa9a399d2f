"""What others ask of the watches (protocols): live objects, pods and StorageClasses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from setpoint.health.claims import StorageClass
from setpoint.health.verdict import Verdict
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.objects.observed import Observed
from setpoint.plan.prune import Users


class LiveObjects(Protocol):
    """The objects of the required kinds that carry our label; see `watch.informers.Informers`."""

    async def require(self, kinds: Iterable[Kind]) -> None:
        """Return when all these kinds were listed once and are watched. Raises ApiError when one cannot be listed."""

    def again(self, kinds: Iterable[Kind]) -> float | None:
        """Return the seconds after which to `require` kinds again that were refused lately."""

    def unwatched(self, oid: ObjectId) -> bool:
        """Return whether an object's kind may not be watched."""

    def get(self, oid: ObjectId) -> Observed | None:
        """Return what is known of an object; None if it does not exist, or its kind is not required."""

    def store(self, kind: Kind, obj: Mapping[str, Any]) -> Observed:
        """Take the answer to a write of our own; returns what is known now."""

    def missing(self, oid: ObjectId) -> None:
        """Take that an object of a kind that may not be watched was looked for and is not there."""

    def knows(self, oid: ObjectId) -> bool:
        """Return whether an object that `get` does not have is not there."""


def unsure(live: LiveObjects, oid: ObjectId) -> bool:
    """Return whether nobody knows now what is there: its kind may not be watched, or its watch ended, as the API server fails."""
    return live.unwatched(oid) or (live.get(oid) is None and not live.knows(oid))


class Pods(Protocol):
    """The pods of workloads and of claims, and who uses what left Git; see `watch.pods.PodInformers`."""

    async def want(self, key: SyncKey, objects: Iterable[ObjectId], *, known: bool) -> None:
        """Set the workloads and claims whose pods a Sync asks about from now on."""

    async def users(self, key: SyncKey, objects: Mapping[ObjectId, ObjectId | None]) -> Users:
        """Return who uses objects; the users that are given with them are believed where pods may not be read."""

    async def keep(self, key: SyncKey, objects: Iterable[ObjectId]) -> None:
        """Wake a Sync from now on when the user that was named of one of these objects is none any more."""

    def verdict(self, oid: ObjectId) -> Verdict | None:
        """Return what keeps the pods of a workload from running."""

    def mounted(self, claim: ObjectId) -> bool | None:
        """Return whether a pod that is not finished mounts a claim; None if nobody knows."""


class Storage(Protocol):
    """The StorageClasses; see `watch.storage.StorageClasses`."""

    async def want(self, key: SyncKey) -> tuple[StorageClass, ...] | None:
        """Wake a Sync from now on when a class changes; returns the classes, None if they may not be read."""

    async def release(self, key: SyncKey) -> None:
        """Stop waking a Sync."""

    def known(self) -> tuple[StorageClass, ...] | None:
        """Return the classes as far as they were read."""
