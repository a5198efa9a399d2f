"""The last known body of each Source and Sync, and who refers to whom.

It is a cache of what the watch and our own writes brought, never a source of truth for decisions about objects.
The body with the higher resourceVersion is kept: the watch often beats the response of our own write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from setpoint.objects.bodies import Body, dependency_keys, key_of, source_key, version_of
from setpoint.objects.identity import SyncKey


class Changed(Protocol):
    """The subscriber to changes, like the handlers of an informer."""

    def __call__(self, old: Body | None, new: Body | None, *, ours: bool = False) -> None:
        """Take a change; `old` is None for what is new, `new` for what is gone. `ours`: we wrote it ourselves."""


def _nobody(old: Body | None, new: Body | None, *, ours: bool = False) -> None:
    """Nobody listens."""


class Store:
    """Bodies of Sources and Syncs by key, with the two reverse indexes that wake others."""

    def __init__(self) -> None:
        self._tell: Changed = _nobody
        self.sources: dict[SyncKey, Body] = {}
        self.syncs: dict[SyncKey, Body] = {}
        self._by_source: dict[SyncKey, set[SyncKey]] = {}
        self._by_dependency: dict[SyncKey, set[SyncKey]] = {}

    def subscribe(self, changed: Changed) -> None:
        """Notify one subscriber of each change from now on."""
        self._tell = changed

    def put(self, body: Body) -> bool:
        """Keep a Source or Sync; False if a newer one is known."""
        return (self.put_source if body["kind"] == "Source" else self.put_sync)(body)

    def drop(self, body: Body) -> None:
        """Forget a Source or Sync that is gone; not another one that was made under its name meanwhile."""
        (self.drop_source if body["kind"] == "Source" else self.drop_sync)(
            key_of(body), body["metadata"]["uid"]
        )

    def answered(self, body: Body) -> None:
        """Keep the answer to a write of ours, unless the object is gone: no watch would tell of that again."""
        if self.has(body):
            (self.put_source if body["kind"] == "Source" else self.put_sync)(body, ours=True)

    def put_source(self, body: Body, *, ours: bool = False) -> bool:
        """Keep a Source; False if a newer one is known."""
        old = self.sources.get(key_of(body))
        if not self._put(self.sources, body):
            return False
        self._told(old, body, ours=ours)
        return True

    def put_sync(self, body: Body, *, ours: bool = False) -> bool:
        """Keep a Sync and its references; False if a newer one is known."""
        key = key_of(body)
        old = self.syncs.get(key)
        if not self._put(self.syncs, body):
            return False
        if old is not None:
            self._unlink(key, old)
        self._by_source.setdefault(source_key(body), set()).add(key)
        for other in dependency_keys(body):
            self._by_dependency.setdefault(other, set()).add(key)
        self._told(old, body, ours=ours)
        return True

    def _told(self, old: Body | None, new: Body, *, ours: bool) -> None:
        """Notify of a body with news only: our own status writes come back as events, and lists repeat what is known."""
        if old is None or old["metadata"].get("resourceVersion") != new["metadata"].get("resourceVersion"):
            self._tell(old, new, ours=ours)

    def has(self, body: Body) -> bool:
        """Return whether this very object is known, in whatever version; not another that has its name."""
        known = (self.sources if body["kind"] == "Source" else self.syncs).get(key_of(body))
        return known is not None and known["metadata"].get("uid") == body["metadata"].get("uid")

    @staticmethod
    def _put(bodies: dict[SyncKey, Body], body: Body) -> bool:
        key = key_of(body)
        old = bodies.get(key)
        # The same for an object that was made again under its name: what is said of the old one may come late.
        if old is not None and version_of(old) > version_of(body):
            return False
        bodies[key] = body
        return True

    def drop_source(self, key: SyncKey, uid: str | None = None) -> None:
        """Forget a Source that is gone; with a uid, not another one that was made under its name meanwhile."""
        body = self.sources.get(key)
        if body is not None and uid in (None, body["metadata"].get("uid")):
            del self.sources[key]
            self._tell(body, None)

    def drop_sync(self, key: SyncKey, uid: str | None = None) -> None:
        """Forget a Sync that is gone; with a uid, not another one that was made under its name meanwhile."""
        body = self.syncs.get(key)
        if body is not None and uid in (None, body["metadata"].get("uid")):
            del self.syncs[key]
            self._unlink(key, body)
            self._tell(body, None)

    def _unlink(self, key: SyncKey, body: Body) -> None:
        for index, other in [(self._by_source, source_key(body))] + [
            (self._by_dependency, d) for d in dependency_keys(body)
        ]:
            members = index.get(other, set())
            members.discard(key)
            if not members:
                index.pop(other, None)

    def users(self, source: SyncKey) -> Iterable[SyncKey]:
        """Return the Syncs of a Source."""
        return tuple(self._by_source.get(source, ()))

    def dependents(self, sync: SyncKey) -> Iterable[SyncKey]:
        """Return the Syncs that depend on a Sync."""
        return tuple(self._by_dependency.get(sync, ()))
