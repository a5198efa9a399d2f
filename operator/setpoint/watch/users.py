"""Who uses ConfigMaps, Secrets, ServiceAccounts and claims of a namespace: its pods, and what wants pods (shell).

A cache says that something is used, and its watch when that ends. That nothing uses it is only said of lists that
were read for the question: a watch may lag, or hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from setpoint.kube.client import Cluster
from setpoint.objects.identity import ObjectId
from setpoint.objects.users.references import Name
from setpoint.objects.users.wants import names_used
from setpoint.watch.follower import Follower

Changed = Callable[[ObjectId], None]
WANTS = (("apps/v1", "ReplicaSet"), ("batch/v1", "Job"))
GROUPS = {"Pod": "", "ReplicaSet": "apps", "Job": "batch"}


class UserIndex:
    """Who uses what, among the objects of one kind in one namespace, of those names that were asked about.

    A user that was named is named as long as it is one, so that a status does not change with each pod that goes.
    """

    def __init__(self, kind: str, about: set[Name] | None = None) -> None:
        """`about`: the names asked about; an index and the one that replaces it share them, as more may come between."""
        self._kind, self.about = kind, set[Name]() if about is None else about
        self._uses: dict[str, frozenset[Name]] = {}
        self._users: dict[Name, dict[str, ObjectId]] = {}
        self._named: dict[Name, str] = {}

    def user(self, name: Name) -> ObjectId | None:
        """Return one that uses an object, the same one as before if it still does; None if nobody does."""
        users = self._users.get(name)
        if not users:
            return None
        if (uid := self._named.get(name)) not in users:
            # Not the least of all: each that goes would cost a look at all that are left.
            uid = self._named[name] = next(iter(users))
        return users[uid]

    def take(self, obj: Mapping[str, Any], *, gone: bool = False) -> frozenset[Name]:
        """Note what an object uses now; returns the names whose user it was named, and is no more."""
        uid: str = obj["metadata"]["uid"]
        before = self._uses.pop(uid, frozenset())
        now = frozenset[Name]() if gone or not self.about else names_used(self._kind, obj) & self.about
        if now:
            self._uses[uid] = now
        for name in before - now:
            users = self._users[name]
            del users[uid]
            if not users:
                del self._users[name]
        for name in now - before:
            self._users.setdefault(name, {})[uid] = self._id(obj)
        lost = frozenset(n for n in before - now if self._named.get(n) == uid)
        for name in lost:
            del self._named[name]
        return lost

    def lost(self, before: UserIndex) -> frozenset[Name]:
        """Return the names whose user in an index `before` is none any more; the others stay named."""
        self._named = {n: uid for n, uid in before._named.items() if uid in self._users.get(n, ())}
        return frozenset(before._named.keys() - self._named.keys())

    def _id(self, obj: Mapping[str, Any]) -> ObjectId:
        meta = obj["metadata"]
        return ObjectId(GROUPS[self._kind], self._kind, meta.get("namespace") or "", meta["name"])


class Reader(Protocol):
    """A list and watch whose objects use others."""

    forbidden: bool
    index: UserIndex

    async def anew(self) -> bool:
        """Read the list now; returns whether it may be read. Raises ApiError."""

    def follow(self) -> None:
        """Begin to watch."""


class WantInformer(Follower):
    """One list and watch of what wants pods in a namespace; it begins when it is asked."""

    grace = None

    def __init__(self, cluster: Cluster, kind: tuple[str, str], namespace: str, changed: Changed) -> None:
        self._changed, self._kind = changed, kind[1]
        self.index = UserIndex(kind[1])
        super().__init__(cluster, *kind, namespace)

    async def _relist(self, pages: AsyncIterator[tuple[list[dict[str, Any]], str]]) -> str:
        after, version = UserIndex(self._kind, self.index.about), ""
        async for page, version in pages:  # noqa: B007 - that of the last page counts
            for obj in page:
                after.take(obj)
        before, self.index = self.index, after
        tell(self._changed, self._namespace, after.lost(before))
        return version

    def _event(self, event: str, obj: Mapping[str, Any]) -> None:
        tell(self._changed, self._namespace, self.index.take(obj, gone=event == "DELETED"))


def tell(changed: Changed, namespace: str | None, names: Iterable[Name]) -> None:
    """Tell of objects that their user is none any more."""
    for kind, name in names:
        changed(ObjectId("", kind, namespace or "", name))


class NamespaceUsers:
    """Those who use objects of one namespace. What wants pods is named before its pods, as it lives longer."""

    def __init__(self, cluster: Cluster, namespace: str, pods: Reader, changed: Changed) -> None:
        self._wants = tuple(WantInformer(cluster, kind, namespace, changed) for kind in WANTS)
        self._pods = pods
        self._readers: tuple[Reader, ...] = (*self._wants, pods)
        self._following = False
        self._asking = asyncio.Lock()

    async def of(self, objects: Mapping[ObjectId, ObjectId | None]) -> dict[ObjectId, ObjectId]:
        """Return one user of each object that has any; those given are believed where something may not be read.

        Raises ApiError if it cannot be found out.
        """
        async with self._asking:
            watched = [r for r in self._readers if not r.forbidden]
            found = self._known(objects, watched) if self._following else {}
            if rest := {o: own for o, own in objects.items() if o not in found}:
                found |= self._known(rest, await self._anew(rest))
        return found

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
