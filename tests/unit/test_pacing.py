"""A Sync that cannot do what is due waits: it is not looked at again and again."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit import virtualtime
from tests.unit.memorytree import MemoryTree

from setpoint import pacing
from setpoint.claims import Claims
from setpoint.discovery import Kind
from setpoint.objects import ObjectId, SyncKey
from setpoint.parts import Parts
from setpoint.queue import Queue, Result
from setpoint.reconcile import Syncs
from setpoint.remotes import Current, Repository, parse_url
from setpoint.render import Renderer
from setpoint.settings import Settings
from setpoint.status_writer import StatusWriter
from setpoint.store import Body, Store
from setpoint.telemetry import Telemetry

KEY, SOURCE = SyncKey("team", "app"), SyncKey("team", "src")
EMPTY, BROKEN = MemoryTree({"a.yaml": ""}), MemoryTree({"a.yaml": "{"})
OBJECT = MemoryTree({"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n"})
SHA, NEXT = "1" * 40, "2" * 40
INTERVAL = 600.0
MOST_RUNS = 1000


@pytest.mark.parametrize(
    ("waited", "complete", "expected"),
    [
        (100.0, True, 200.0),
        (100.0, False, 200.0),
        (300.0, True, 1.0),
        (300.0, False, None),
        (299.9, False, 1.0),
    ],
)
def test_a_rollout_is_looked_at_when_its_time_is_over(
    waited: float, complete: bool, expected: float | None
) -> None:
    assert pacing.rollout(waited, 300.0, complete=complete) == expected


@pytest.mark.parametrize(("due", "expected"), [(160.0, 60.0), (100.2, 1.0), (100.0, 600.0), (0.0, 600.0)])
def test_a_check_that_could_not_be_done_waits_another_interval(due: float, expected: float) -> None:
    assert pacing.safety_net(due, 100.0, INTERVAL) == expected


class Live:
    """Nothing is there, and all is listed."""

    async def require(self, kinds: Any) -> None:
        list(kinds)

    def get(self, _oid: ObjectId) -> None:
        return None

    def again(self, _oid: ObjectId) -> None:
        return None

    def unwatched(self, _oid: ObjectId) -> bool:
        return False

    def of(self, _label: str) -> list[Any]:
        return []


class Pods:
    async def want(self, *_: Any, **__: Any) -> None:
        """Nobody wants any."""

    def verdict(self, _oid: ObjectId) -> None:
        return None


class Events:
    def record(self, *_: Any) -> None:
        """Nobody listens."""


class Sources:
    """One Source, whose commit a test chooses; every check that is asked for has been done."""

    def __init__(self) -> None:
        self.sha, self.content = SHA, EMPTY

    def current(self, _key: SyncKey) -> Current:
        at = Repository(parse_url("https://git.example.org/team/app"))
        return Current(at, self.sha, f"main@sha1:{self.sha}", False)

    def trouble(self, _key: SyncKey) -> None:
        return None

    def holds(self, *_: Any) -> bool:
        return True

    def tree(self, *_: Any) -> MemoryTree:
        return self.content

    def want(self, *_: Any) -> None:
        """It is there."""

    lost = wait_for_check = want

    def was_checked(self, *_: Any) -> bool:
        return True


class Cluster:
    """Takes statuses."""

    broken_groups: frozenset[str] = frozenset()

    def __init__(self, store: Store) -> None:
        self._store, self.patches = store, 0

    def kind(self, _version: str, name: str) -> Kind | None:
        if name not in ("Sync", "ConfigMap", "ServiceAccount"):
            return None
        return Kind("", "v1", name, f"{name.lower()}s", True, frozenset({"list", "delete"}))

    kind_of_group = kind

    def listable(self) -> tuple[Kind, ...]:
        return ()

    async def discover(self) -> bool:
        return False

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
        return body


class World:
    """The real reconciler of Syncs with its queue, on stubs of what it asks."""

    def __init__(self, folder: Path) -> None:
        self.runs, self.store, self.sources = 0, Store(), Sources()
        self.cluster = Cluster(self.store)
        self.queue: Queue[SyncKey] = Queue(
            self._work, workers=4, clock=lambda: asyncio.get_running_loop().time()
        )
        writer = StatusWriter(cast("Any", self.cluster), cast("Any", self.store.put_sync))
        parts: tuple[Any, ...] = (
            *(Settings(namespace="sys", cluster_id="c"), self.cluster, Live(), Pods(), self.store, Claims()),
            *(
                self.sources,
                Renderer(Path("kustomize"), folder),
                writer,
                Events(),
                Telemetry(),
                "c",
                b"k" * 32,
            ),
            *(self.queue.add, self.queue.busy, self.queue.add_after, lambda _key: None),
        )
        self._syncs = Syncs(Parts(*parts))
        meta = {"namespace": SOURCE.namespace, "name": SOURCE.name, "uid": "s", "resourceVersion": "1"}
        self.store.put_source({"metadata": meta, "spec": {"url": "https://git.example.org/team/app"}})

    async def _work(self, key: SyncKey) -> Result:
        self.runs += 1
        assert self.runs < MOST_RUNS, "for ever"
        return await self._syncs.reconcile(key)

    def sync(self, generation: int, annotations: Any = None, **spec: Any) -> None:
        old = self.store.syncs.get(KEY) or {"metadata": {"resourceVersion": "1"}}
        meta = {"namespace": KEY.namespace, "name": KEY.name, "uid": "u", "generation": generation}
        meta |= {"resourceVersion": str(int(old["metadata"]["resourceVersion"]) + 1)}
        meta |= {"finalizers": ["setpoint.dev/finalizer"], "annotations": annotations or {}}
        whole = {"source": {"name": "src"}, "serviceAccountName": "d", "interval": f"{INTERVAL:g}s", **spec}
        head = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": meta, "spec": whole}
        self.store.put_sync({**head, **({"status": old["status"]} if "status" in old else {})})
        self._syncs.seen(self.store.syncs[KEY])
        self.queue.add(KEY)

    def ready(self) -> tuple[str, str]:
        conditions = self.store.syncs[KEY]["status"]["conditions"]
        return next((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready")


async def settled() -> None:
    await asyncio.sleep(INTERVAL / 10)


def suspend(world: World) -> tuple[str, str]:
    world.sync(2, suspend=True)
    return "False", "Suspended"


def break_render(world: World) -> tuple[str, str]:
    world.sources.sha, world.sources.content = NEXT, BROKEN
    world.queue.add(KEY)
    return "False", "RenderFailed"


def break_and_ask(world: World) -> tuple[str, str]:
    world.sources.sha, world.sources.content = NEXT, BROKEN
    world.sync(1, {"setpoint.dev/requested": "now"})
    return "False", "RenderFailed"


def depend(world: World) -> tuple[str, str]:
    world.sources.sha, world.sources.content = NEXT, OBJECT
    world.sync(2, dependsOn=[{"name": "other"}])
    return "False", "DependencyNotReady"


@pytest.mark.parametrize("hinder", [suspend, break_render, break_and_ask, depend])
def test_who_is_hindered_is_looked_at_once_in_an_interval(tmp_path: Path, hinder: Any) -> None:
    async def play() -> None:
        world = World(tmp_path)
        working = asyncio.create_task(world.queue.run())
        world.sync(1)
        await settled()
        assert world.ready() == ("True", "Succeeded")
        expected = hinder(world)
        await settled()
        assert world.ready() == expected
        await asyncio.sleep(INTERVAL)  # the check is due by now, and cannot be done
        world.runs, world.cluster.patches = 0, 0
        await asyncio.sleep(5 * INTERVAL)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert world.runs == (0 if hinder is suspend else 5)
        assert world.cluster.patches == 0

    virtualtime.run(play())
