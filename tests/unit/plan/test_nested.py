"""A Sync in the inventory of another: what goes with it when a commit drops it, what stays, and what is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.kit.samples import LABEL, Woken, observed

from setpoint.api import names
from setpoint.apply.deleter import Deleter, DeleteResult
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.bodies import Body
from setpoint.objects.identity import ObjectId, SyncKey, owner_annotation
from setpoint.objects.inventory import grouped
from setpoint.objects.kinds import Kind
from setpoint.objects.observed import Observed
from setpoint.plan.desired import OwnershipMarks, stamped
from setpoint.plan.marks import is_dropped, marking, unowned
from setpoint.plan.nested import Nested, is_sync, nested_of
from setpoint.plan.order import is_namespace
from setpoint.plan.prune import PROTECTED, Prune, PrunePolicy, left_behind, prune
from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots
from setpoint.status.announcements import kept_words
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.syncs.dispatcher import Dispatcher

ROOT, MID, LEAF, NEW = (SyncKey("team", n) for n in ("root", "mid", "leaf", "new"))
SPEC: Mapping[str, Any] = {"source": {"name": "src"}, "serviceAccountName": "d"}
ALLOW, NEVER = {names.ANNOTATION_PRUNE: "allow"}, {names.ANNOTATION_PRUNE: "never"}


def sync(key: SyncKey) -> ObjectId:
    return ObjectId(names.GROUP, "Sync", key.namespace, key.name)


def config(name: str, namespace: str = "shop") -> ObjectId:
    return ObjectId("", "ConfigMap", namespace, name)


def namespace(name: str) -> ObjectId:
    return ObjectId("", "Namespace", "", name)


def claim(name: str, inside: str = "shop") -> ObjectId:
    return ObjectId("", "PersistentVolumeClaim", inside, name)


def body(
    key: SyncKey,
    *objects: ObjectId,
    annotations: Mapping[str, str] | None = None,
    status: bool = True,
    finalizers: tuple[str, ...] = (names.FINALIZER,),
    **spec: Any,
) -> Body:
    meta: dict[str, Any] = {"namespace": key.namespace, "name": key.name, "uid": "u", "resourceVersion": "7"}
    meta |= {"annotations": dict(annotations or {}), "finalizers": list(finalizers)}
    entries = grouped((f"{o.group}/v1alpha1" if o.group else "v1", o) for o in objects)
    found = {"conditions": [], **({"inventory": entries} if entries else {})}
    head = {"apiVersion": names.API_VERSION, "kind": "Sync", "metadata": meta, "spec": {**SPEC, **spec}}
    return {**head, **({"status": found} if status else {})}


def behind(*bodies: Body, wanted: Iterable[ObjectId] = ()) -> Nested:
    """Return what stands behind MID among these Syncs."""
    by = {SyncKey(b["metadata"]["namespace"], b["metadata"]["name"]): b for b in bodies}
    taken = dict.fromkeys(wanted, NEW)
    return nested_of(
        [sync(MID), config("x")], by, lambda _, objects: {o: NEW for o in objects if o in taken}
    )[sync(MID)]


A, B = config("a"), config("b")


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([body(MID, A, B)], (2, False)),
        ([body(MID)], (0, True)),
        ([], (None, False)),
        ([body(MID, status=False)], (None, False)),
        ([body(MID, status=False, finalizers=())], (0, True)),
        ([body(MID, A, suspend=True)], (0, False)),
        ([body(MID, A, deletionPolicy="Orphan")], (0, False)),
        ([body(MID, A, prune=False)], (0, False)),
        ([body(MID, A, prune=False, deletionPolicy="Prune")], (1, False)),
        ([body(MID, A, path=7)], (0, False)),
        ([body(MID, A, sync(LEAF)), body(LEAF, A, B)], (2, False)),
        ([body(MID, A, sync(LEAF)), body(LEAF, A, B, annotations=ALLOW)], (4, False)),
        ([body(MID, sync(LEAF)), body(LEAF)], (1, True)),
        ([body(MID, sync(LEAF))], (1, False)),
        ([body(MID, sync(LEAF)), body(LEAF, status=False, annotations=ALLOW)], (None, False)),
        ([body(MID, sync(MID), annotations=ALLOW)], (1, True)),
    ],
    ids=[
        *("objects", "empty", "unknown", "status lost", "never ran", "suspended", "orphans", "prune false"),
        *("prunes after all", "invalid", "keeps its own", "takes its own along", "of empty ones"),
        *("of a missing one", "of an unknown one", "of itself"),
    ],
)
def test_what_stands_behind_a_nested_sync(bodies: list[Body], expected: tuple[int | None, bool]) -> None:
    found = behind(*bodies)
    assert (found.objects, found.empty) == expected


def test_what_others_want_is_not_counted_and_is_something_left() -> None:
    assert behind(body(MID, A, B), wanted=[A]) == Nested(1, empty=False, version="7")
    assert behind(body(MID, A), wanted=[A]) == Nested(0, empty=False, version="7")


def seen(oid: ObjectId, annotations: Mapping[str, str] | None = None, *, deleting: bool = False) -> Observed:
    return replace(observed("x"), id=oid, owner=ROOT, annotations=annotations or {}, deleting=deleting)


def decided(
    leaves: Mapping[ObjectId, Observed],
    nested: Mapping[ObjectId, Nested],
    limit: int | str = "25%",
    *,
    keep: int = 1,
    wanted: Mapping[ObjectId, SyncKey] | None = None,
) -> Prune:
    stay = {config(f"stay{i}") for i in range(keep)}
    inventory = frozenset({*leaves, *stay})
    return prune(inventory, frozenset(stay), leaves, ROOT, wanted or {}, PrunePolicy(True, limit), nested)


MUCH, NONE, UNKNOWN = Nested(4, empty=False), Nested(0, empty=True), Nested(None, empty=False)


@pytest.mark.parametrize(
    ("annotations", "nested", "what"),
    [
        ({}, MUCH, "refuse"),
        ({}, NONE, "delete"),
        ({}, UNKNOWN, "refuse"),
        (ALLOW, MUCH, "delete"),
        (ALLOW, UNKNOWN, "refuse"),
        (NEVER, MUCH, "release"),
        (NEVER, NONE, "release"),
    ],
)
def test_a_dropped_sync_is_kept_unless_it_is_empty_or_may_go(
    annotations: Mapping[str, str], nested: Nested, what: str
) -> None:
    mid = sync(MID)
    decision = decided({mid: seen(mid, annotations)}, {mid: nested})
    found = {"delete": decision.delete, "refuse": decision.refuse, "release": decision.release}
    assert [name for name, value in found.items() if mid in value] == [what]
    if what == "refuse":
        assert "is no longer in Git and is kept" in decision.message


def test_a_sync_of_which_nothing_is_known_is_kept() -> None:
    assert not decided({sync(MID): seen(sync(MID), ALLOW)}, {}).delete


def test_a_sync_that_somebody_deletes_is_not_refused() -> None:
    mid = sync(MID)
    assert decided({mid: seen(mid, deleting=True)}, {mid: MUCH}) == Prune()


def test_a_sync_that_another_takes_over_is_lent_and_counts_for_nothing() -> None:
    mid = sync(MID)
    decision = decided({mid: seen(mid)}, {mid: Nested(999, empty=False)}, wanted={mid: NEW})
    assert (len(decision.delete), set(decision.lend), decision.message) == (0, {mid}, "")


def test_the_objects_of_a_sync_that_goes_count_on_both_sides() -> None:
    mid = sync(MID)
    live = {mid: seen(mid, ALLOW)}
    assert decided(live, {mid: MUCH}, keep=10).delete == (mid,)
    over = decided(live, {mid: Nested(5, empty=False)}, keep=10)
    assert (over.delete, over.message) == ((), "would delete 6 of 16 objects (limit 25%)")
    assert decided(live, {mid: Nested(5, empty=False)}, 6, keep=10).delete == (mid,)
    # A quarter of what it was with the objects that go.
    assert decided(live, {mid: Nested(9, empty=False)}, keep=30).delete == (mid,)
    assert decided(live, {mid: Nested(9, empty=False)}, keep=29).message.startswith("would delete 10 of 39")
    orphans = Nested(0, empty=False)
    assert decided(live, {mid: orphans}, 1).delete == (mid,)
    gone = decided(live, {mid: MUCH}, "100%", keep=0)
    assert (gone.delete, gone.message) == ((), "would delete all 5 objects, as the commit has none")


def test_a_namespace_stays_as_long_as_something_in_it_does() -> None:
    home, other, mid = namespace("team"), namespace("other"), sync(MID)
    live = {home: seen(home, ALLOW), other: seen(other, ALLOW), mid: seen(mid)}
    decision = decided(live, {mid: MUCH})
    assert decision.delete == (other,)
    assert "as Sync/team/mid is in it" in decision.refuse[home]
    free = decided(live, {mid: NONE})
    assert set(free.delete) == {home, other, mid}
    lent = config("c", "team")
    decision = decided({home: seen(home, ALLOW), lent: seen(lent)}, {}, wanted={lent: NEW})
    assert (decision.delete, set(decision.refuse)) == ((), {home})


def test_what_a_sync_leaves_behind_that_goes_by_a_commit() -> None:
    crd = ObjectId("apiextensions.k8s.io", "CustomResourceDefinition", "", "w.example.org")
    volume = ObjectId("", "PersistentVolume", "", "v")
    leaf, empty = sync(LEAF), sync(NEW)
    every: dict[ObjectId, dict[str, str]] = {
        o: {} for o in (claim("c"), crd, volume, leaf, empty, namespace("n"))
    }
    nested = {leaf: MUCH, empty: NONE}
    kept = left_behind(every, (), nested)
    assert set(kept) == every.keys() - {empty}
    assert is_namespace(kept[0])
    assert {(o.group, o.kind) for o in every} == PROTECTED
    assert left_behind(dict.fromkeys(every, ALLOW), (), nested) == ()
    assert set(left_behind(dict.fromkeys(every, NEVER), (), nested)) == every.keys()
    assert left_behind({leaf: ALLOW}, (), {}) == (leaf,)


@pytest.mark.parametrize("lent", [True, False])
def test_a_namespace_around_what_is_left_behind_is_left_behind(lent: bool) -> None:
    around = {namespace("shop"): ALLOW, namespace("other"): ALLOW}
    inside: dict[ObjectId, dict[str, str]] = {} if lent else {claim("c"): {}}
    kept = left_behind({**around, **inside}, [config("c")] if lent else [], {})
    assert kept == (namespace("shop"), *inside)


def test_only_syncs_of_ours_are_nested_syncs() -> None:
    assert is_sync(sync(MID))
    assert not is_sync(ObjectId("example.org", "Sync", "team", "mid"))


def test_a_mark_is_set_once_and_taken_off_once() -> None:
    plain = {"metadata": {"resourceVersion": "7"}}
    owned = {"metadata": {"resourceVersion": "7", "annotations": {"a": "b"}}}
    marked = {"metadata": {"resourceVersion": "7", "annotations": {names.ANNOTATION_DROPPED_BY: "team/root"}}}
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    where = "/metadata/annotations/setpoint.dev~1dropped-by"
    assert marking(owned, "team/root") == [test, {"op": "add", "path": where, "value": "team/root"}]
    assert [op["path"] for op in marking(plain, "team/root")] == [
        test["path"],
        "/metadata/annotations",
        where,
    ]
    assert marking(marked, "team/root") == marking(owned, None) == marking(plain, None) == []
    assert marking(marked, None) == [test, {"op": "remove", "path": where}]
    assert [is_dropped(b) for b in (plain, owned, marked)] == [False, False, True]


def test_our_marks_come_off_exactly_the_object_that_was_looked_at() -> None:
    owner = owner_annotation(MID, claim("c"))
    meta: dict[str, Any] = {"uid": "u", "annotations": {names.ANNOTATION_OWNER: owner, "a": "b"}}
    bare = unowned({"metadata": meta})
    assert [(op["op"], op.get("value")) for op in bare] == [("test", "u"), ("test", owner), ("remove", None)]
    both = unowned({"metadata": {**meta, "labels": {names.LABEL_SYNC: LABEL}}})
    assert [op["path"] for op in both if op["op"] == "remove"] == [
        "/metadata/annotations/setpoint.dev~1owner",
        "/metadata/labels/setpoint.dev~1sync",
    ]


def test_git_cannot_mark_a_sync() -> None:
    manifest = {
        "apiVersion": names.API_VERSION,
        "kind": "Sync",
        "metadata": {"name": "mid", "annotations": {names.ANNOTATION_DROPPED_BY: "x", "a": "b"}},
    }
    made = stamped(manifest, sync(MID), OwnershipMarks(ROOT, LABEL))
    assert set(made["metadata"]["annotations"]) == {"a", names.ANNOTATION_OWNER}


def test_every_object_that_is_kept_is_named() -> None:
    assert kept_words([], "team") == []
    (text,) = kept_words([claim("c"), sync(LEAF)], "team")
    assert "PersistentVolumeClaim/shop/c, Sync/leaf" in text
    many = [claim(f"{'c' * 40}{i}") for i in range(60)]
    said = kept_words(many, "shop")
    assert all(any(o.label("shop") in text for text in said) for o in many)
    assert all(len(text) < 1000 for text in said)


def fleet() -> tuple[Dispatcher, list[SyncKey]]:
    woken = Woken()
    return Dispatcher(Store(), Claims(), "c", woken), woken.keys


def test_who_is_dropped_and_who_is_not_any_more_is_woken_once() -> None:
    known, woken = fleet()
    known.drop(ROOT, {MID})
    known.drop(ROOT, {MID})
    assert (known.dropped(MID), known.dropped(LEAF), woken) == (True, False, [MID])
    known.drop(MID, {LEAF})
    known.drop(ROOT, ())
    assert (known.dropped(MID), known.dropped(LEAF)) == (False, False)
    assert sorted(woken) == sorted([MID, LEAF, LEAF, MID])


def test_whoever_dropped_a_sync_is_woken_when_that_has_less() -> None:
    known, woken = fleet()
    known.drop(ROOT, {MID})
    known.drop(MID, {LEAF})
    woken.clear()
    known.shrunk(LEAF)
    assert woken == [MID, ROOT]
    known.drop(LEAF, {ROOT})  # around in a circle
    woken.clear()
    known.shrunk(LEAF)
    assert woken == [MID, ROOT]
    known.forget(ROOT)
    assert not known.dropped(MID)


class One:
    """A cluster with one Sync, which changes when a test says so."""

    broken_groups: frozenset[str] = frozenset()

    def __init__(self, *, changes: str = "", annotations: Mapping[str, str] | None = None) -> None:
        owner = {names.ANNOTATION_OWNER: owner_annotation(ROOT, sync(MID))}
        meta = {"uid": "u", "resourceVersion": "7", "annotations": {**owner, **(annotations or {})}}
        self.meta: dict[str, Any] | None = meta
        self._changes, self.deleted = changes, False
        self.left: Mapping[str, str] = {}

    def kind_of_group(self, group: str, kind: str) -> Kind:
        return Kind(group, "v1alpha1", kind, f"{kind.lower()}s", True, frozenset({"list", "delete"}))

    async def get(self, *_: Any, **__: Any) -> Any:
        return {"metadata": dict(self.meta)} if self.meta else None

    async def patch(self, _kind: Kind, _space: str, _name: str, ops: Any, **_: Any) -> Any:
        assert self.meta is not None
        if self._changes == "before the mark":
            raise ApiError(422, "Invalid", "the test failed")
        assert ops[0]["value"] == self.meta["resourceVersion"]
        annotations = dict(self.meta["annotations"])
        if ops[-1]["op"] == "remove":
            del annotations[names.ANNOTATION_DROPPED_BY]
        else:
            annotations[names.ANNOTATION_DROPPED_BY] = ops[-1]["value"]
        self.meta |= {"resourceVersion": "8", "annotations": annotations}
        return {"metadata": dict(self.meta)}

    async def delete(self, *_: Any, uid: str, version: str, **__: Any) -> bool:
        assert self.meta is not None
        if self._changes == "before the deletion":
            raise ApiError(409, "Conflict", "Precondition failed")
        assert (uid, version) == ("u", self.meta["resourceVersion"])
        self.deleted, self.left = True, self.meta["annotations"]
        self.meta = None
        return True

    async def remove(self, *, by_commit: bool, version: str = "7") -> DeleteResult:
        limit = Slots(Limits(4))
        remover = Deleter(cast("Cluster", self), limit, ROOT, "u", by_commit=by_commit)
        return await remover.remove([sync(MID)], {sync(MID): Nested(1, empty=False, version=version)})


@pytest.mark.parametrize("before", [{}, {names.ANNOTATION_DROPPED_BY: "team/other"}], ids=["plain", "marked"])
@pytest.mark.parametrize("by_commit", [True, False], ids=["commit", "person"])
async def test_a_sync_is_deleted_with_a_mark_by_a_commit_and_without_by_a_person(
    by_commit: bool, before: Mapping[str, str]
) -> None:
    one = One(annotations=before)
    assert (await one.remove(by_commit=by_commit)).gone
    assert one.left.get(names.ANNOTATION_DROPPED_BY) == (str(ROOT) if by_commit else None)


@pytest.mark.parametrize("changes", ["before the look", "before the mark", "before the deletion"])
async def test_a_sync_that_changed_since_it_was_decided_about_stays(changes: str) -> None:
    one = One(changes=changes)
    removed = await one.remove(by_commit=True, version="6" if changes == "before the look" else "7")
    assert (one.deleted, removed.moved, set(removed.pending)) == (False, True, {sync(MID)})
