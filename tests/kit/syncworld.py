"""The real reconciler of Syncs with its queue, on stubs of what it asks: Git, the cluster, and what is watched."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.kit.memorytree import MemoryTree
from tests.kit.oneprocess import OneProcess

from setpoint.git.remotes import Repository, parse_url
from setpoint.kube.errors import ApiError
from setpoint.manager.wakeups import Wakeups
from setpoint.manager.wiring import wired
from setpoint.objects.bodies import Body
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.objects.observed import Observed
from setpoint.plan.prune import Users
from setpoint.render.program import Program
from setpoint.render.renderer import Renderer
from setpoint.runtime.metrics import Metrics
from setpoint.runtime.workqueue import Controller, Result, WorkQueue
from setpoint.settings import Settings
from setpoint.sources.artifact import Artifact
from setpoint.sources.demands import Demand
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.syncs.dispatcher import Dispatcher

HANDLE = "team/mirror"
KEY, SOURCE = SyncKey("team", "app"), SyncKey("team", "src")
EMPTY, BROKEN = MemoryTree({"a.yaml": ""}), MemoryTree({"a.yaml": "{"})
OBJECT = MemoryTree({"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n"})
SHA, NEXT = "1" * 40, "2" * 40
INTERVAL = 600.0
MOST_RUNS = 1000


class Live:
    """Knows of what is `there` only what was listed or, of a kind that may not be watched, stored."""

    def __init__(self) -> None:
        self.there: dict[ObjectId, Observed] = {}
        self.listed: set[str] = set()
        self.refused: set[str] = set()
        self._stored: set[ObjectId] = set()
        self.absent: set[ObjectId] = set()

    async def require(self, kinds: Any) -> None:
        self.listed |= {kind.kind for kind in kinds} - self.refused

    def get(self, oid: ObjectId) -> Observed | None:
        return self.there.get(oid) if oid.kind in self.listed or oid in self._stored else None

    def store(self, kind: Kind, obj: Any) -> Observed:
        oid = ObjectId(kind.group, kind.kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
        self._stored.add(oid)
        return self.there[oid]

    def missing(self, oid: ObjectId) -> None:
        self.absent.add(oid)

    def knows(self, oid: ObjectId) -> bool:
        return oid.kind in self.listed or oid in self.absent

    def again(self, _kinds: Any) -> None:
        return None

    def unwatched(self, oid: ObjectId) -> bool:
        return oid.kind in self.refused


class Pods:
    async def want(self, *_: Any, **__: Any) -> None:
        """Nobody wants any."""

    async def users(self, *_: Any) -> Users:
        return Users()

    async def keep(self, *_: Any) -> None:
        """Nothing is used."""

    def verdict(self, _oid: ObjectId) -> None:
        return None

    def mounted(self, _claim: ObjectId) -> None:
        return None


class Storage:
    async def want(self, _key: SyncKey) -> None:
        return None

    async def release(self, _key: SyncKey) -> None:
        """There are no claims."""

    def known(self) -> None:
        return None


class Events:
    def record(self, *_: Any) -> None:
        """Nobody listens."""


class Sources:
    """One Source with its mirror, whose commit a test chooses; `checked`: every check that is asked for has been done.

    `held`: whether the cache has the commits. `demands`: what runs of Syncs demanded, one after the other.
    """

    def __init__(self) -> None:
        self.sha, self.content, self.checked, self.held = SHA, EMPTY, True, True
        self.demands: list[Demand | None] = []

    def current(self, _key: SyncKey) -> Artifact:
        return Artifact(HANDLE, self.sha, f"main@sha1:{self.sha}", False)

    def trouble(self, _key: SyncKey) -> None:
        return None

    def was_tried(self, _key: SyncKey) -> bool:
        return False

    def holds(self, _key: SyncKey) -> bool:
        return self.held

    def lost(self, *_: Any) -> None:
        """A test says what is held."""

    # What the worker asks of its mirrors.

    def handle(self, _repository: Repository) -> str:
        return HANDLE

    def has(self, *_: Any, **__: Any) -> bool:
        return self.held

    def tree(self, *_: Any, **__: Any) -> MemoryTree:
        return self.content

    def refused(self, *_: Any) -> bool:
        return False

    def demand(self, _sync: SyncKey, demand: Demand | None) -> None:
        self.demands.append(demand)

    def forget(self, _sync: SyncKey) -> None:
        """Nothing is kept."""

    def was_checked(self, *_: Any) -> bool:
        return self.checked


class Cluster:
    """Takes statuses, and lets objects be read."""

    broken_groups: frozenset[str] = frozenset()

    def __init__(self, store: Store, live: Live) -> None:
        self.forbids = False
        self._store, self._live, self.patches = store, live, 0
        self.told: list[Any] = []

    def kind(self, _version: str, name: str) -> Kind | None:
        if name not in ("Sync", "ConfigMap", "ServiceAccount"):
            return None
        return Kind("", "v1", name, f"{name.lower()}s", True, frozenset({"list", "delete"}))

    kind_of_group = kind

    def kinds_named(self, _name: str) -> tuple[Kind, ...]:
        return ()

    def listable(self) -> tuple[Kind, ...]:
        return ()

    async def discover(self) -> bool:
        return False

    async def get(self, kind: Kind, namespace: str, name: str, **_: Any) -> Body | None:
        if self.forbids:
            raise ApiError(403, "Forbidden", f'User "u" cannot get resource "{kind.resource}"')
        oid = ObjectId(kind.group, kind.kind, namespace, name)
        return {"metadata": {"namespace": namespace, "name": name}} if oid in self._live.there else None

    async def patch(self, _kind: Kind, namespace: str, name: str, ops: Any, **_: Any) -> Body:
        self.patches += 1
        body = copy.deepcopy(self._store.syncs[SyncKey(namespace, name)])
        for op in ops:
            *path, last = op["path"].split("/")[1:]
            at = body
            for part in path:
                at = at.setdefault(part, {})
            if op["op"] == "remove":
                del at[last]
            elif op["op"] != "test":
                at[last] = op["value"]
        body["metadata"]["resourceVersion"] = str(int(body["metadata"]["resourceVersion"]) + 1)
        self.told.append(body["status"])
        return body


class World:
    """The real reconciler of Syncs with its queue, on stubs of what it asks."""

    def __init__(self, folder: Path, key: bytes = b"k" * 32) -> None:
        self.runs, self.store, self.sources, self.live = 0, Store(), Sources(), Live()
        self.cluster = Cluster(self.store, self.live)
        mirrors = cast("Any", self.sources)
        self.worker = OneProcess(mirrors, Renderer(Program(Path("kustomize")), folder))
        self.worker.commits.handle(Repository(parse_url("https://git.example.org/team/app")))
        self.queue = WorkQueue[SyncKey](clock=lambda: asyncio.get_running_loop().time())
        self.controller = Controller(self.queue, self._work, workers=4)
        writer, self.claims = StatusWriter(cast("Any", self.cluster), self.store), Claims()
        fleet = Dispatcher(self.store, self.claims, "c", self.queue)
        self._syncs = wired(
            Settings(namespace="sys", cluster_id="c"),
            cluster=cast("Any", self.cluster),
            informers=self.live,
            sources=self.sources,
            pods=Pods(),
            storage=Storage(),
            store=self.store,
            claims=self.claims,
            worker=self.worker,
            writer=writer,
            recorder=Events(),
            metrics=Metrics(),
            secret_key=key,
            digest_key=key,
            dispatcher=fleet,
        )
        checks = SimpleNamespace(give_up=lambda _key: None)
        self.store.subscribe(Wakeups(self.store, fleet, cast("Any", checks), WorkQueue(), self.queue).changed)
        meta = {"namespace": SOURCE.namespace, "name": SOURCE.name, "uid": "s", "resourceVersion": "1"}
        self.store.put_source(
            {"kind": "Source", "metadata": meta, "spec": {"url": "https://git.example.org/team/app"}}
        )

    async def _work(self, key: SyncKey) -> Result:
        self.runs += 1
        assert self.runs < MOST_RUNS, "for ever"
        return await self._syncs.reconcile(key)

    def stored(self, status: Any) -> None:
        """What an operator before this one told of the Sync."""
        meta = {"namespace": KEY.namespace, "name": KEY.name, "uid": "u", "resourceVersion": "1"}
        self.store.syncs[KEY] = {"kind": "Sync", "metadata": meta, "status": status}

    def sync(self, generation: int, annotations: Any = None, **spec: Any) -> None:
        old = self.store.syncs.get(KEY) or {"metadata": {"resourceVersion": "1"}}
        meta = {"namespace": KEY.namespace, "name": KEY.name, "uid": "u", "generation": generation}
        meta |= {"resourceVersion": str(int(old["metadata"]["resourceVersion"]) + 1)}
        meta |= {"finalizers": ["setpoint.dev/finalizer"], "annotations": annotations or {}}
        whole = {"source": {"name": "src"}, "serviceAccountName": "d", "interval": f"{INTERVAL:g}s", **spec}
        head = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": meta, "spec": whole}
        self.store.put_sync({**head, **({"status": old["status"]} if "status" in old else {})})

    @property
    def status(self) -> Any:
        """What is told of the Sync."""
        return self.store.syncs[KEY]["status"]

    def condition(self, kind: str) -> tuple[str, str]:
        return next((c["status"], c["reason"]) for c in self.status["conditions"] if c["type"] == kind)
