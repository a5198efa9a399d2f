"""What the operator asks of the worker, counted around the real one with real Git: nothing without news, and never for a path."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest_asyncio
from tests.kit.brokered import Brokered
from tests.kit.recording import Recording
from tests.kit.samples import Woken
from tests.kit.servers.repo import Repo
from tests.kit.syncworld import KEY, SOURCE, Cluster, Events, Live, Pods, Storage

from setpoint.kube.client import Written
from setpoint.manager.wiring import wired
from setpoint.objects.bodies import Body
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.objects.observed import observe
from setpoint.runtime.metrics import Metrics
from setpoint.settings import Settings
from setpoint.sources.reconciler import Sources
from setpoint.sources.reporter import SourceReporter
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.wall.messages import Built, Checked, Compare, Compared, Look, Lost, Objects, Same

APP, OTHER = KEY, SyncKey("team", "other")
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\ndata: {k: '%s'}\n"
PATHS = 40


class Applies(Cluster):
    """Takes what is applied as it is."""

    def __init__(self, store: Store, live: Live) -> None:
        super().__init__(store, live)
        self.objects: dict[ObjectId, Body] = {}

    def kind(self, version: str, name: str) -> Kind | None:
        if name == "Source":
            return Kind("setpoint.dev", "v1alpha1", name, "sources", True, frozenset())
        return super().kind(version, name)

    async def get(self, kind: Kind, namespace: str, name: str, **_: Any) -> Body | None:
        return self.objects.get(ObjectId(kind.group, kind.kind, namespace, name))

    async def apply(self, kind: Kind, manifest: Any, *, dry_run: bool = False, **_: Any) -> Written:
        meta = manifest["metadata"]
        oid = ObjectId(kind.group, kind.kind, meta["namespace"], meta["name"])
        fields: Any = {"f:data": {f"f:{key}": {} for key in manifest["data"]}}
        entry = {"manager": "setpoint", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}
        made = {
            **manifest,
            "metadata": {**meta, "uid": "u", "resourceVersion": "9", "managedFields": [entry]},
        }
        if not dry_run:
            self.objects[oid] = made
            self._live.there[oid] = observe(made, oid)
        return Written(made, oid not in self.objects, ())

    async def patch(self, _kind: Kind, namespace: str, name: str, ops: Any, **_: Any) -> Body:
        if _kind.kind == "Sync":
            return await super().patch(_kind, namespace, name, ops)
        body = dict(self._store.sources[SyncKey(namespace, name)])
        for op in ops[1:]:
            _, field, *rest = op["path"].split("/")
            body[field] = {**body.get(field, {}), rest[0]: op["value"]} if rest else op["value"]
        version = int(body["metadata"]["resourceVersion"]) + 1
        return {**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}}


class World:
    """The real reconcilers of Sources and of Syncs over the real worker, whose answers are counted."""

    def __init__(self, folder: Path) -> None:
        self.repo, self.store, self.live = Repo(folder / "app.git"), Store(), Live()
        cluster: Any = Applies(self.store, self.live)
        self.cluster: Applies = cluster
        self.real = Brokered(folder / "cache")
        self.worker, queue, self.checks = Recording(self.real), Woken(), Woken()
        writer, claims, events, metrics = StatusWriter(cluster, self.store), Claims(), Events(), Metrics()
        self.fleet = Dispatcher(self.store, claims, "c", queue)
        reporter = SourceReporter(writer, cast("Any", events), metrics)
        self.sources = Sources(
            cluster, self.worker, self.store, reporter, self.fleet, self.checks, queue, allow_file=True
        )
        self.syncs = wired(
            Settings(namespace="sys", cluster_id="c"),
            cluster=cluster,
            informers=self.live,
            sources=self.sources,
            pods=Pods(),
            storage=Storage(),
            store=self.store,
            claims=claims,
            worker=self.worker,
            writer=writer,
            recorder=events,
            metrics=metrics,
            secret_key=b"k" * 32,
            digest_key=b"k" * 32,
            dispatcher=self.fleet,
        )
        self.queue = queue

    def start(self) -> None:
        """Bring a Source, and two Syncs of it with a folder each."""
        meta: Any = {"namespace": "team", "uid": "u", "resourceVersion": "1", "generation": 1}
        spec = {"url": f"file://{self.repo.path}", "ref": {"branch": "main"}, "interval": "1ms"}
        head = {"apiVersion": "setpoint.dev/v1alpha1"}
        self.store.put_source({**head, "kind": "Source", "metadata": {**meta, "name": "src"}, "spec": spec})
        for key in (APP, OTHER):
            whole = {"source": {"name": "src"}, "serviceAccountName": "d", "path": key.name}
            meta = {**meta, "finalizers": ["setpoint.dev/finalizer"]}
            body = {**head, "kind": "Sync", "metadata": {**meta, "name": key.name}, "spec": whole}
            self.store.put_sync(body)
            self.fleet.seen(body)

    async def check(self, requested: str) -> Counter[str]:
        """Check the Source; returns what was asked of the worker."""
        body = self.store.sources[SOURCE]
        body["metadata"].setdefault("annotations", {})["setpoint.dev/requested"] = requested
        await self.sources.reconcile(SOURCE)
        return self.worker.asked()

    async def run(self, key: SyncKey = APP) -> Counter[str]:
        """Reconcile a Sync; returns what was asked of the worker."""
        await self.syncs.reconcile(key)
        return self.worker.asked()

    def woken(self) -> set[SyncKey]:
        """Return the Syncs that were woken since the last call."""
        found = set(self.queue.keys)
        self.queue.keys.clear()
        return found

    def lose(self, name: str) -> None:
        """Delete an object behind the operator's back."""
        oid = ObjectId("", "ConfigMap", "shop", name)
        del self.live.there[oid], self.cluster.objects[oid]

    def ready(self, key: SyncKey = APP) -> tuple[str, str]:
        conditions = self.store.syncs[key]["status"]["conditions"]
        return next((c["status"], c["message"]) for c in conditions if c["type"] == "Ready")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    async with made.real:
        yield made


async def test_each_kind_of_run_asks_once_however_many_files_there_are(world: World) -> None:
    files = {
        f"{name}/{n}.yaml": CONFIG % (f"{name}{n}", "1") for name in ("app", "other") for n in range(PATHS)
    }
    world.repo.commit(files)
    world.start()
    assert await world.check("1") == {"check": 1}
    assert await world.run() == {"build": 1}, "an install"
    assert await world.run(OTHER) == {"build": 1}
    assert world.ready() == world.ready(OTHER) == ("True", "40/40 healthy")
    world.woken()

    assert await world.run() == {}, "nothing is new"
    assert await world.check("2") == {"check": 1}
    assert world.woken() == set()

    world.lose("app7")
    assert await world.run() == {"objects": 1}, "what drifted is put back"
    assert world.ready()[0] == "True"
    world.woken()

    second = world.repo.commit({"app/7.yaml": CONFIG % ("app7", "2")})
    assert await world.check("3") == {"check": 1, "compare": 1}
    assert world.woken() == {APP}
    assert await world.run() == {"build": 1}, "a commit that concerns it"
    assert world.cluster.objects[ObjectId("", "ConfigMap", "shop", "app7")]["data"] == {"k": "2"}
    assert await world.run() == {}
    assert world.fleet.has_seen(OTHER, second, 1), "without a run"

    world.repo.commit({"app/README.md": "Nothing for the cluster"})
    assert await world.check("4") == {"check": 1, "compare": 1}
    assert world.woken() == {APP}
    assert await world.run() == {"build": 1}
    assert isinstance(world.worker.answers[-1], Same), "its inputs are as before, and no object crosses"

    # OTHER stood through two commits, and looks at the last one when it runs for another reason.
    assert await world.run(OTHER) == {"build": 1}
    assert isinstance(world.worker.answers[-1], Same)


async def test_a_cache_that_is_lost_is_noticed_by_who_needs_it(world: World, tmp_path: Path) -> None:
    sha = world.repo.commit({"app/a.yaml": CONFIG % ("a", "1"), "other/b.yaml": CONFIG % ("b", "1")})
    world.start()
    await world.check("1")
    await world.run()
    shutil.rmtree(tmp_path / "cache")
    assert await world.run() == {}, "it stands, and nobody has to read it"
    await world.real.broker.readers.release("team")  # with what it remembers
    world.lose("a")
    world.woken()
    assert await world.run() == {"objects": 1}
    assert world.live.there == {}
    assert not world.sources.holds(SOURCE)
    await world.sources.reconcile(SOURCE)
    assert world.worker.asked() == {"check": 1}
    assert world.sources.holds(SOURCE)
    assert APP in world.woken()
    assert await world.run() == {"objects": 1}
    assert [oid.name for oid in world.live.there] == ["a"]
    assert (world.ready()[0], world.fleet.has_seen(APP, sha, 1)) == ("True", True)


async def test_a_mirror_that_is_lost_below_what_is_remembered_is_filled_again(
    world: World, tmp_path: Path
) -> None:
    world.repo.commit({"app/a.yaml": CONFIG % ("a", "1")})
    world.start()
    await world.check("1")
    await world.run()
    lose_mirrors(tmp_path)
    world.lose("a")
    assert await world.run() == {"objects": 1}
    assert [oid.name for oid in world.live.there] == ["a"]
    assert not world.sources.holds(SOURCE)
    assert world.checks.keys == [SOURCE]
    await world.sources.reconcile(SOURCE)
    assert world.worker.asked() == {"check": 1}
    assert world.sources.holds(SOURCE)


async def test_read_sets_and_objects_that_nobody_needs_are_dropped(world: World, tmp_path: Path) -> None:
    for number in range(4):
        world.repo.commit({"app/a.yaml": CONFIG % ("a", number), "other/b.yaml": CONFIG % ("b", "1")})
        if not number:
            world.start()
        await world.check(str(number))
        await world.run()
    made = [a for a in world.worker.answers if isinstance(a, Built)]
    assert len(made) == 4
    read_sets = tuple(a.read_set for a in made)
    at = next(a for a in world.worker.answers if isinstance(a, Checked))
    step = Compare(at.handle, at.sha, at.sha, submodules=False, read_sets=read_sets)
    # Nobody waits for what is forgotten; of a step to itself only what is not known is touched.
    while await world.real.compare(step) != Compared(read_sets[:3]):
        await asyncio.sleep(0)
    lose_mirrors(tmp_path)
    look = Look("team", at.handle, at.sha, submodules=False, spec={"path": "app"})
    found = [await world.real.objects(Objects(look, a.digest)) for a in made]
    assert found[:3] == [Lost()] * 3
    assert found[3] == replace(made[3], read_set="", held=False), "the last objects alone are known"


def lose_mirrors(folder: Path) -> None:
    """Take the mirrors of a namespace away, as it is done for room; its folder stays."""
    for mirror in (folder / "cache" / "git" / "mirrors" / "team").iterdir():
        shutil.rmtree(mirror)
