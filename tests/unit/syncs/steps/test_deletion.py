"""A deletion that waits goes on when what it waits for is gone, also if nobody tells; it writes nothing meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.kit import syncworld, virtualtime
from tests.kit.samples import KEY, Woken, context, work
from tests.unit.kube.test_absence import NO_KIND, WIDGET, WITH, WITHOUT, World

from setpoint.api import names
from setpoint.apply.deleter import Deleter
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.manager.cluster_identity import ClusterIdentity
from setpoint.manager.controllers import build
from setpoint.objects.bodies import Body
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.inventory import grouped
from setpoint.objects.kinds import Kind
from setpoint.runtime.fairness import Limits
from setpoint.runtime.metrics import Metrics
from setpoint.runtime.slots import Slots
from setpoint.runtime.workqueue import Controller, Result, WorkQueue
from setpoint.settings import Settings
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.run import PruneResult
from setpoint.syncs.steps.deletion import LOOK_AGAIN, Deletion, Finalizer
from setpoint.syncs.steps.observer import Observer

BASE, TOP = SyncKey("team", "base"), SyncKey("team", "top")


class Held(World):
    """Its Widget is being deleted, and stays until a test takes it away."""

    async def get(self, kind: Kind, namespace: str, name: str, user: str = "") -> dict[str, Any] | None:
        found = await super().get(kind, namespace, name, user)
        if found is not None and kind.kind == WIDGET.kind:
            found["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["hold"]}
        return found


class Deleted:
    """A Sync that is being deleted and has a Widget; the shells around its end are stubs of the cluster."""

    def __init__(self, world: World) -> None:
        self._world, self._status = world, {"inventory": grouped([("example.org/v1", WIDGET)])}
        self.told: list[Mapping[str, Any]] = []
        self.runs, self.gone = 0, False
        store, claims = Store(), Claims()
        fleet, cluster = Dispatcher(store, claims, "c", Woken()), cast("Cluster", world)
        pruner = SimpleNamespace(barrier=lambda *_: None, give_away=self._none, nested=lambda _objects: {})
        sources = SimpleNamespace(current=lambda _key: None)
        recorder = SimpleNamespace(record=lambda *_: None)
        observer = Observer(cluster, cast("Any", self))
        stubs: tuple[Any, ...] = (sources, self, recorder, fleet, self, pruner)
        self._finalizer = Finalizer(Deletion(cluster, store), observer, *stubs)

    async def _none(self, *_: Any, **__: Any) -> tuple[PruneResult, dict[ObjectId, str]]:
        return PruneResult(), {}

    async def require(self, kinds: Iterable[Kind]) -> None:
        if not self._world.answers and list(kinds):
            raise ApiError(404, "NotFound", NO_KIND)

    def again(self, _kinds: Iterable[Kind]) -> None:
        return None

    async def write(self, _key: SyncKey, _body: Body, new: Mapping[str, Any]) -> None:
        if new != self._status:
            self.told.append(new)
            self._status = dict(new)

    async def finalizers(self, _oid: ObjectId, body: Body, wanted: list[str]) -> Body:
        self.gone = not wanted
        return body

    async def end(self, _key: SyncKey = KEY) -> Result:
        self.runs += 1
        now = context(self._status)
        meta = {**now.body["metadata"], "finalizers": [names.FINALIZER], "uid": "u"}
        now = replace(now, body={**now.body, "metadata": meta})
        remover = Deleter(cast("Cluster", self._world), Slots(Limits(4)), KEY, now.user)
        return await self._finalizer.end(now, remover)

    @property
    def ready(self) -> tuple[str, str]:
        """Reason and message of what was told last."""
        found = next(c for c in self._status["conditions"] if c["type"] == "Ready")
        return found["reason"], found["message"]


async def test_a_kind_that_goes_while_its_objects_are_waited_for_ends_the_deletion() -> None:
    world = World(WITH, WITHOUT)
    world.answers = False
    sync = Deleted(world)
    assert await sync.end() == Result(retry=True)
    assert sync.ready == ("KindUnknown", "a kind of this Sync is not served any more, or not yet again")
    assert not sync.gone
    assert await sync.end() == Result()
    assert sync.gone


async def test_a_kind_that_is_back_has_its_objects_deleted() -> None:
    world = World(WITH)
    world.answers = False
    sync = Deleted(world)
    await sync.end()
    world.answers = True
    assert await sync.end() == Result()
    assert (sync.gone, world.there) == (True, False)


def test_what_ends_unseen_is_noticed_and_nothing_is_written_while_it_is_waited_for() -> None:
    """Of a kind that may not be watched nobody tells."""

    async def play() -> None:
        world = Held(WITH)
        sync = Deleted(world)
        queue = WorkQueue[SyncKey](clock=asyncio.get_running_loop().time)
        working = asyncio.create_task(Controller(queue, sync.end, workers=1).run())
        queue.add(KEY)
        await asyncio.sleep(10.5 * LOOK_AGAIN)
        assert (sync.runs, len(sync.told), sync.gone) == (11, 1, False)
        assert "hold" in sync.ready[1]
        world.there = False
        await asyncio.sleep(LOOK_AGAIN)
        assert sync.gone
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    virtualtime.run(play())


def dependent(key: SyncKey, *on: SyncKey) -> Body:
    """Return a Sync that is being deleted and depends on others."""
    meta = {"namespace": key.namespace, "name": key.name, "uid": key.name, "resourceVersion": "1"}
    spec = {"source": {"name": "src"}, "serviceAccountName": "d", "dependsOn": [{"name": o.name} for o in on]}
    kind = {"apiVersion": names.API_VERSION, "kind": "Sync"}
    return {**kind, "metadata": {**meta, "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}


async def test_who_waits_for_the_end_of_a_sync_is_woken_when_the_watch_tells_of_it(tmp_path: Path) -> None:
    settings = Settings(namespace="sys", cache_dir=str(tmp_path))
    made = build(settings, cast("Any", SimpleNamespace()), ClusterIdentity("c", b"k"), Metrics())
    for body in (dependent(BASE), dependent(TOP, BASE)):
        made.store.put_sync(body)
    work(made.queues.syncs)
    made.resync.event("DELETED", dependent(TOP, BASE))
    assert [made.queues.syncs.busy(key) for key in (TOP, BASE)] == [True, True]
    await made.close()


class Noting(syncworld.World):
    """A World whose API server knows no Sync any more."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.worked: list[SyncKey] = []
        self.cluster.patch = self._absent  # type: ignore[method-assign]

    async def _absent(self, *_: Any, **__: Any) -> Body:
        raise ApiError(404, "NotFound", 'syncs.setpoint.dev "app" not found')

    async def _work(self, key: SyncKey) -> Result:
        self.worked.append(key)
        return await super()._work(key)


def test_who_waits_for_the_end_of_a_sync_is_woken_when_a_write_finds_it_gone(tmp_path: Path) -> None:
    async def play() -> None:
        world = Noting(tmp_path)
        working = asyncio.create_task(world.controller.run())
        world.sync(1, dependsOn=[{"name": BASE.name}])
        await asyncio.sleep(1)
        assert world.worked == [syncworld.KEY, BASE, syncworld.KEY]
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    virtualtime.run(play())
