"""Whom a change of a stored Source or Sync wakes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.kit.samples import work

from setpoint.manager.wakeups import Wakeups
from setpoint.objects.bodies import Body
from setpoint.objects.identity import SyncKey
from setpoint.runtime.workqueue import WorkQueue
from setpoint.store.index import Store

SOURCE, APP, OTHER = SyncKey("team", "src"), SyncKey("team", "app"), SyncKey("team", "other")
BASE, FOREIGN = SyncKey("team", "base"), SyncKey("team", "foreign")


def body(kind: str, key: SyncKey, **spec: Any) -> Body:
    meta = {"namespace": key.namespace, "name": key.name, "uid": key.name, "generation": 1}
    return {"kind": kind, "metadata": {**meta, "resourceVersion": "1"}, "spec": spec}


def later(old: Body, **changes: Any) -> Body:
    """The same object as of a later version, with other metadata, or another status."""
    new = copy.deepcopy(old)
    new["metadata"]["resourceVersion"] = str(int(old["metadata"]["resourceVersion"]) + 1)
    if "status" in changes:
        new["status"] = changes.pop("status")
    new["metadata"] |= changes
    return new


def status(ready: str, message: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": ready, "reason": "Any", "message": message}]}


class World:
    """A store with two Syncs of one Source and one of another; only APP is not where it is meant to be."""

    def __init__(self) -> None:
        self.store, self.sources, self.syncs = Store(), WorkQueue[SyncKey](), WorkQueue[SyncKey]()
        self.seen_keys: list[str] = []
        self.given_up: list[SyncKey] = []
        for key, source in ((APP, "src"), (OTHER, "src"), (FOREIGN, "another")):
            self.store.put(body("Sync", key, source={"name": source}))
        self.store.put(body("Source", SOURCE))
        self.store.subscribe(Wakeups(self.store, self, self, self.sources, self.syncs).changed)

    def seen(self, body: Body) -> None:
        self.seen_keys.append(body["metadata"]["name"])

    def unsettled(self, source: SyncKey) -> list[SyncKey]:
        return [APP] if source == SOURCE else []

    def give_up(self, key: SyncKey) -> None:
        self.given_up.append(key)

    @property
    def woken(self) -> tuple[set[SyncKey], set[SyncKey]]:
        """The Sources and the Syncs that were put into the queues since the last look."""
        return set(work(self.sources)), set(work(self.syncs))


@pytest.mark.parametrize("ours", [False, True], ids=["event", "answer"])
@pytest.mark.parametrize(
    ("changes", "syncs"),
    [
        ({"generation": 2}, {APP, OTHER}),
        ({"uid": "another"}, {APP, OTHER}),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, {APP, OTHER}),
        ({"status": status("False", "no answer")}, {APP}),
        ({"status": {"revision": "main@sha1:abc"}}, {APP}),
        ({"status": {"lastFetched": "2026-01-01T00:00:00Z"}}, set()),
        ({"annotations": {"setpoint.dev/requested": "now"}}, set()),
    ],
    ids=["spec", "made again", "ending", "fails", "fetched", "time", "requested"],
)
def test_a_source_that_changed(changes: dict[str, Any], syncs: set[SyncKey], ours: bool) -> None:
    world = World()
    world.store.put_source(later(world.store.sources[SOURCE], **changes), ours=ours)
    assert world.woken == (set() if ours else {SOURCE}, syncs)
    assert world.given_up == ([] if ours else [SOURCE])


def test_a_source_that_is_new_and_one_that_goes() -> None:
    world = World()
    new = SyncKey("team", "another")
    world.store.put(body("Source", new))
    assert world.woken == ({new}, {FOREIGN})
    world.store.drop(world.store.sources[SOURCE])
    assert world.woken == ({SOURCE}, {APP, OTHER})
    assert world.given_up == [new, SOURCE]


def test_a_sync_that_is_new_or_changed_wakes_itself() -> None:
    world = World()
    world.store.put(body("Sync", BASE, source={"name": "src"}))
    assert world.woken == (set(), {BASE})
    world.store.put(later(world.store.syncs[APP], status=status("True", "edited by hand")))
    assert world.woken == (set(), {APP})
    assert world.seen_keys == ["base", "app"]


def test_a_sync_that_goes_wakes_what_it_depends_on() -> None:
    world = World()
    world.store.put(body("Sync", BASE, source={"name": "src"}, dependsOn=[{"name": "other"}]))
    world.woken  # noqa: B018 - takes what waits
    world.store.drop(world.store.syncs[BASE])
    assert world.woken == (set(), {BASE, OTHER})


def test_our_own_status_of_a_sync_wakes_nobody_nor_does_its_event_nor_what_is_older() -> None:
    world = World()
    before = world.store.syncs[APP]
    answer = later(before, status=status("True", "all is well"))
    world.store.answered(answer)
    world.store.put(copy.deepcopy(answer))
    world.store.put(before)
    assert world.store.syncs[APP] == answer
    assert world.woken == (set(), set())
    assert world.seen_keys == []


def test_the_end_of_another_that_had_the_name_wakes_nobody() -> None:
    world = World()
    world.store.drop(later(world.store.syncs[APP], uid="former"))
    world.store.drop(later(world.store.sources[SOURCE], uid="former"))
    assert world.woken == (set(), set())
