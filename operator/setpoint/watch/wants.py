"""Watches what wants pods in a namespace, and keeps who uses what (shell)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId
from setpoint.objects.users.references import Name
from setpoint.objects.users.wants import NOTHING, names_of_revision, names_used, revisions_used
from setpoint.watch.follower import NOT_FOUND, Follower

Changed = Callable[[ObjectId], None]
GROUPS = {"Pod": "", "ReplicaSet": "apps", "StatefulSet": "apps", "Job": "batch"}
HASH_LABEL = "controller.kubernetes.io/hash"
"""A ControllerRevision has the last part of its name there."""
_HASH = re.compile("[a-z0-9]{1,63}")
MOST_HASHES = 100
"""How many one list asks for, so that its URL is not too long."""


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

    def take(
        self, obj: Mapping[str, Any], *, gone: bool = False, beside: frozenset[Name] = NOTHING
    ) -> frozenset[Name]:
        """Note what an object uses now, some of it `beside` what it says; returns the names whose user it is no more.

        Of these only the ones whose user it was named.
        """
        uid: str = obj["metadata"]["uid"]
        before = self._uses.pop(uid, frozenset())
        now = NOTHING if gone or not self.about else (names_used(self._kind, obj) | beside) & self.about
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
            await self._read_beside(page)
            for obj in page:
                after.take(obj, beside=self._beside(obj))
        before, self.index = self.index, after
        tell(self._changed, self._namespace, after.lost(before))
        return version

    def _event(self, event: str, obj: Mapping[str, Any]) -> None:
        lost = self.index.take(obj, gone=event == "DELETED", beside=self._beside(obj))
        tell(self._changed, self._namespace, lost)

    async def _read_beside(self, page: Sequence[Mapping[str, Any]]) -> None:
        """Read what tells more of objects than they do themselves. Raises ApiError."""

    def _beside(self, obj: Mapping[str, Any]) -> frozenset[Name]:
        """Return what an object uses beside what it says itself."""
        return NOTHING


class StatefulSetInformer(WantInformer):
    """One list and watch of StatefulSets, with the revisions that they may make pods of."""

    def __init__(self, cluster: Cluster, namespace: str, changed: Changed) -> None:
        self._revisions: dict[str, frozenset[Name]] = {}
        """What revisions name of what was asked about, as of the last list; the watch adds none, as it decides nothing."""
        super().__init__(cluster, ("apps/v1", "StatefulSet"), namespace, changed)

    async def _relist(self, pages: AsyncIterator[tuple[list[dict[str, Any]], str]]) -> str:
        self._revisions = {}
        return await super()._relist(pages)

    async def _read_beside(self, page: Sequence[Mapping[str, Any]]) -> None:
        wanted = sorted({name for obj in page for name in revisions_used(obj)})
        for start in range(0, len(wanted), MOST_HASHES):
            some = wanted[start : start + MOST_HASHES]
            found = await self._named(some)
            # One that cannot be found may name anything.
            self._revisions |= {name: found.get(name, frozenset(self.index.about)) for name in some}

    async def _named(self, revisions: Sequence[str]) -> Mapping[str, frozenset[Name]]:
        kind = self._cluster.kind("apps/v1", "ControllerRevision")
        if kind is None:
            raise ApiError(NOT_FOUND, "NotFound", "ControllerRevision is not served")
        # They stand in a status, where anybody with the right to may write anything.
        hashes = sorted({h for name in revisions if _HASH.fullmatch(h := name.rpartition("-")[2])})
        if not hashes:
            return {}
        selector = f"{HASH_LABEL} in ({','.join(hashes)})"
        found, _ = await self._cluster.list(kind, namespace=self._namespace, label_selector=selector)
        return {r["metadata"]["name"]: names_of_revision(r) & self.index.about for r in found}

    def _beside(self, obj: Mapping[str, Any]) -> frozenset[Name]:
        return NOTHING.union(*(self._revisions.get(name, NOTHING) for name in revisions_used(obj)))


def tell(changed: Changed, namespace: str | None, names: Iterable[Name]) -> None:
    """Tell of objects that their user is none any more."""
    for kind, name in names:
        changed(ObjectId("", kind, namespace or "", name))
