"""Who uses ConfigMaps, Secrets, ServiceAccounts and claims of a namespace: its pods, and what wants pods (shell).

A cache says that something is used, and its watch when that ends. That nothing uses it is only said of lists that
were read for the question: a watch may lag, or hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from setpoint.kube.client import Cluster
from setpoint.objects.identity import ObjectId
from setpoint.plan.prune import NOBODY, Users
from setpoint.watch.wants import Changed, StatefulSetInformer, UserIndex, WantInformer

WANTS = (("apps/v1", "ReplicaSet"), ("batch/v1", "Job"))


class Reader(Protocol):
    """A list and watch whose objects use others."""

    forbidden: bool
    index: UserIndex

    @property
    def denied(self) -> bool:
        """Whether it was refused for so long that it is not meant to be read."""

    async def anew(self) -> bool:
        """Read the list now; returns whether it may be read. Raises ApiError."""

    def follow(self) -> None:
        """Begin to watch."""


class NamespaceUsers:
    """Those who use objects of one namespace. What wants pods is named before its pods, as it lives longer."""

    def __init__(self, cluster: Cluster, namespace: str, pods: Reader, changed: Changed) -> None:
        made = (WantInformer(cluster, kind, namespace, changed) for kind in WANTS)
        self._wants = (*made, StatefulSetInformer(cluster, namespace, changed))
        self._pods = pods
        self._readers: tuple[Reader, ...] = (*self._wants, pods)
        self._following = False
        self._asking = asyncio.Lock()

    async def of(self, objects: Mapping[ObjectId, ObjectId | None]) -> Users:
        """Return one user of each object that has any; those given are believed where something may not be read.

        A refusal that may pass tells nothing: rights are missing for a moment while they are changed, or while an API
        server starts. Raises ApiError if it cannot be found out.
        """
        async with self._asking:
            watched = [r for r in self._readers if not r.forbidden]
            found = self._known(objects, watched) if self._following else {}
            unknown = NOBODY
            if rest := {o: own for o, own in objects.items() if o not in found}:
                read = await self._anew(rest)
                found |= self._known(rest, read)
                if not all(r in read or r.denied for r in self._readers):
                    unknown = frozenset(rest.keys() - found.keys())
        return Users(found, unknown)

    def follow(self) -> None:
        """Watch from now on, so that whoever asked is woken when the user that was named is none any more."""
        self._following = True
        for reader in self._readers:
            reader.follow()

    async def close(self) -> None:
        """Stop; the pods are not ours to end."""
        await asyncio.gather(*(w.close() for w in self._wants))

    async def _anew(self, objects: Collection[ObjectId]) -> list[Reader]:
        """Read all lists; returns those that may be read, whatever becomes of their watches meanwhile."""
        names = frozenset((o.kind, o.name) for o in objects)
        for reader in self._readers:
            reader.index.about |= names
        # Pods last: what made one since, and wants none any more, would be missed if its list were the younger one.
        return [*await _read(self._wants), *await _read((self._pods,))]

    def _known(
        self, objects: Mapping[ObjectId, ObjectId | None], read: Collection[Reader]
    ) -> dict[ObjectId, ObjectId]:
        found: dict[ObjectId, ObjectId] = {}
        for oid, own in objects.items():
            users = (r.index.user((oid.kind, oid.name)) for r in read)
            user = next((u for u in users if u is not None), None)
            if user is None and len(read) < len(self._readers):
                user = own
            if user is not None:
                found[oid] = user
        return found


async def _read(readers: Sequence[Reader]) -> list[Reader]:
    ended = await asyncio.gather(*(r.anew() for r in readers), return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    return [r for r, may in zip(readers, ended, strict=True) if may]


def by_namespace(objects: Collection[ObjectId]) -> dict[str, list[ObjectId]]:
    """Return objects by their namespace."""
    found: dict[str, list[ObjectId]] = {}
    for oid in objects:
        found.setdefault(oid.namespace, []).append(oid)
    return found
