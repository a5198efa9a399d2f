"""What is known and exists no more is found, and nothing else, whatever the API server answers meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.bodies import Body
from setpoint.objects.identity import SyncKey
from setpoint.objects.kinds import Kind
from setpoint.runtime.workqueue import Result, WorkQueue
from setpoint.store.index import Store
from setpoint.store.resync import KIND, Resync

VERBS = frozenset({"list", "watch"})


def body(kind: str, name: str, uid: str, namespace: str = "team", version: int = 1) -> Body:
    meta = {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": "setpoint.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": {}}


class Served:
    """What an API server has; `meanwhile` happens after it has read its answer, and before that comes."""

    def __init__(self, *bodies: Body) -> None:
        self.bodies = bodies
        self.failures: list[ApiError] = []
        self.unnamed: set[str] = set()
        self.named: set[str] = set()
        self.whole = False
        self.meanwhile: Callable[[], object] = lambda: None

    def kind(self, _version: str, name: str) -> Kind | None:
        plural = f"{name.lower()}s"
        return None if name in self.unnamed else Kind("setpoint.dev", "v1alpha1", name, plural, True, VERBS)

    async def discover(self) -> None:
        """What is `named` is known from now on."""
        self.unnamed -= self.named

    async def list(self, kind: Kind, *, namespace: str | None, metadata_only: bool) -> tuple[list[Any], str]:
        assert metadata_only is not self.whole
        if self.failures:
            raise self.failures.pop(0)
        self.meanwhile()
        found = [b for b in self.bodies if b["kind"] == kind.kind]
        return [b for b in found if namespace in (None, b["metadata"]["namespace"])], "7"


def looked(served: Served, store: Store, *namespaces: str) -> tuple[Resync, list[Body]]:
    gone: list[Body] = []

    def changed(old: Body | None, new: Body | None, *, ours: bool = False) -> None:
        assert not ours
        if new is None and old is not None:
            gone.append(old)

    store.subscribe(changed)
    return Resync(cast("Cluster", served), store, WorkQueue(), namespaces), gone


def stored(*bodies: Body) -> Store:
    store = Store()
    for each in bodies:
        (store.put_source if each["kind"] == "Source" else store.put_sync)(each)
    return store


KEPT, LOST = body("Source", "kept", "u1"), body("Source", "lost", "u2")
APP = body("Sync", "app", "u3")


async def test_what_exists_no_more_is_found() -> None:
    gaps, gone = looked(Served(KEPT), stored(KEPT, LOST, APP))
    assert await gaps.look(KIND) == Result()
    assert gone == [LOST, APP]


async def test_only_the_watched_namespaces_are_asked_for_and_all_of_them() -> None:
    there = body("Source", "there", "u4", namespace="other")
    gaps, gone = looked(Served(KEPT, there), stored(KEPT, LOST, there), "team", "other")
    await gaps.look(KIND)
    assert gone == [LOST]


async def test_what_is_made_during_the_look_stays() -> None:
    store, served = stored(LOST), Served()
    again = body("Source", "lost", "u9", version=2)
    served.meanwhile = lambda: store.put_source(again)
    gaps, gone = looked(served, store)
    await gaps.look(KIND)
    assert gone == []
    assert store.sources == {SyncKey("team", "lost"): again}


@pytest.mark.parametrize("status", [0, 403, 404, 410, 503])
async def test_a_look_that_fails_is_taken_again(status: int) -> None:
    served = Served(KEPT)
    served.failures = [ApiError(status, "Any", "not now")]
    gaps, gone = looked(served, stored(KEPT, LOST))
    assert await gaps.look(KIND) == Result(retry=True)
    assert gone == []
    assert await gaps.look(KIND) == Result()
    assert gone == [LOST]


async def test_a_kind_that_discovery_does_not_name_now_lets_nothing_go() -> None:
    served = Served()
    served.unnamed = {"Sync"}
    gaps, gone = looked(served, stored(APP))
    assert await gaps.look(KIND) == Result(retry=True)
    assert gone == []


# --- a list of everything, at the start and after the watches ended


async def relisted(served: Served, store: Store) -> list[Body]:
    served.whole = True
    resync, gone = looked(served, store)
    await resync.relist()
    return gone


async def test_a_list_takes_in_what_is_there_and_lets_go_of_what_is_not() -> None:
    new, store = body("Sync", "new", "u5"), stored(KEPT, LOST, APP)
    assert await relisted(Served(KEPT, new), store) == [LOST, APP]
    assert store.sources == {SyncKey("team", "kept"): KEPT}
    assert store.syncs == {SyncKey("team", "new"): new}


async def test_a_list_with_one_that_was_made_again_lets_nothing_of_its_name_go() -> None:
    store, again = stored(LOST), body("Source", "lost", "u9", version=2)
    assert await relisted(Served(again), store) == []
    assert store.sources == {SyncKey("team", "lost"): again}


@pytest.mark.parametrize(
    ("unnamed", "named", "gone"),
    [
        ({"Source"}, set(), [KEPT, LOST]),
        ({"Source"}, {"Source"}, []),
        ({"Sync"}, set(), []),
        ({"Source", "Sync"}, set(), [KEPT, LOST]),
    ],
    ids=["Sources", "Sources, for a moment", "Syncs", "both"],
)
async def test_without_their_crd_there_are_no_sources_but_syncs_are_kept(
    unnamed: set[str], named: set[str], gone: list[Body]
) -> None:
    served, store = Served(KEPT, LOST, APP), stored(KEPT, LOST, APP)
    served.unnamed, served.named, served.whole = set(unnamed), named, True
    resync, dropped = looked(served, store)
    with pytest.raises(ApiError, match=" and ".join(f"{n}s" for n in sorted(unnamed)) + " are not served"):
        await resync.relist()
    assert dropped == gone
    assert list(store.syncs.values()) == [APP]
