"""Observations in any order: the newest wins, and only what matters is told."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from setpoint.api import names
from setpoint.objects.identity import ObjectId
from setpoint.watch.observations import LiveChange, Observations

KEY = ("", "ConfigMap")


def oid(name: str = "a", namespace: str = "n") -> ObjectId:
    return ObjectId(*KEY, namespace, name)


def obj(version: int, name: str = "a", label: str = "x", namespace: str = "n", **meta: Any) -> dict[str, Any]:
    labels = {names.LABEL_SYNC: label} if label else {}
    own = {
        "manager": names.FIELD_MANAGER,
        "operation": "Apply",
        "fieldsV1": {"f:data": {}},
        "time": "2026-01-01T00:00:00Z",
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": "u",
            "resourceVersion": str(version),
            "labels": labels,
            "managedFields": [own],
            **meta,
        },
    }


class World:
    def __init__(self) -> None:
        self.changes: list[LiveChange] = []
        self.seen = Observations(frozenset(), self.changes.append)

    def told(self) -> list[tuple[str, int | None, int | None]]:
        return [
            (
                c.label,
                c.before.resource_version if c.before else None,
                c.after.resource_version if c.after else None,
            )
            for c in self.changes
        ]


def label_of(world: World, name: str = "a") -> str | None:
    """Return our label on an object; None if it is not known."""
    seen = world.seen.get(oid(name))
    return seen.sync_label if seen else None


def test_coming_changing_and_going_are_told() -> None:
    world = World()
    world.seen.observed(oid(), obj(1))
    world.seen.observed(oid(), obj(2, finalizers=["example.org/x"]))
    world.seen.deleted(oid(), obj(3))
    assert world.told() == [("x", None, 1), ("x", 1, 2), ("x", 2, None)]
    assert world.seen.get(oid()) is None
    assert len(world.seen) == 0


def test_a_new_version_alone_is_not_told_but_remembered() -> None:
    world = World()
    world.seen.observed(oid(), obj(1))
    world.seen.observed(oid(), obj(2))
    assert world.told() == [("x", None, 1)]
    seen = world.seen.get(oid())
    assert seen is not None
    assert seen.resource_version == 2


def test_a_person_who_writes_again_within_a_second_is_told_again() -> None:
    """Without a stamp of attribution nothing but the version differs: times in managedFields have whole seconds."""
    first, world = obj(1), World()
    own = first["metadata"]["managedFields"]
    hand = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:k": {}}}}
    person = {**hand, "time": "2026-01-01T00:00:05Z"}
    world.seen.observed(oid(), first)
    for version in (2, 3):
        world.seen.observed(oid(), obj(version, managedFields=[*own, person]))
    assert [after for _, _, after in world.told()] == [1, 2, 3]
    for version in (4, 5):
        controller = {**hand, "manager": "controller", "time": f"2026-01-01T00:00:0{version + 2}Z"}
        world.seen.observed(oid(), obj(version, managedFields=[*own, person, controller]))
    assert [after for _, _, after in world.told()] == [1, 2, 3], "who wrote later was no person"
    seen = world.seen.get(oid())
    assert seen is not None
    assert (seen.resource_version, seen.touched) == (5, 3)


def test_the_watch_beats_the_answer_to_our_write() -> None:
    world = World()
    world.seen.observed(oid(), obj(5, finalizers=["example.org/x"]))
    answer = world.seen.written(oid(), obj(4), seen_to=5)
    assert answer.resource_version == 5
    assert answer.finalizers == ("example.org/x",)


def test_our_own_write_is_kept_and_not_told() -> None:
    world = World()
    world.seen.written(oid(), obj(4), seen_to=3)
    world.seen.observed(oid(), obj(4))
    assert world.told() == []
    assert label_of(world) == "x"
    assert len(world.seen) == 1


def test_an_answer_that_comes_after_the_deletion_does_not_bring_the_object_back() -> None:
    world = World()
    world.seen.written(oid(), obj(4), seen_to=6)
    assert world.seen.get(oid()) is None
    world.seen.written(oid(), obj(4), seen_to=None)
    assert world.seen.get(oid()) is None


def test_an_old_deletion_does_not_remove_the_new_object() -> None:
    world = World()
    world.seen.written(oid(), obj(9), seen_to=3)
    world.seen.deleted(oid(), obj(8))
    assert world.seen.get(oid()) is not None


def test_who_loses_an_object_by_our_write_is_told() -> None:
    world = World()
    world.seen.observed(oid(), obj(1, label="x"))
    world.seen.written(oid(), obj(2, label="y"), seen_to=1)
    (_, change) = world.changes
    assert change.before is not None
    assert (change.before.sync_label, change.label) == ("x", "y")
    assert label_of(world) == "y"
    assert len(world.seen) == 1


def test_an_answer_without_our_label_is_not_kept() -> None:
    world = World()
    world.seen.written(oid(), obj(2, label=""), seen_to=1)
    assert world.seen.get(oid()) is None
    world.seen.observed(oid(), obj(3))
    world.seen.written(oid(), obj(4, label=""), seen_to=3)
    assert world.seen.get(oid()) is None


def test_what_is_looked_for_in_vain_is_gone() -> None:
    world = World()
    world.seen.observed(oid(), obj(1))
    world.seen.missing(oid())
    world.seen.missing(oid())
    assert world.told() == [("x", None, 1), ("x", 1, None)]


def test_how_an_object_went_is_known_only_where_its_kind_is_there() -> None:
    """A kind that is served no more tells nothing about the ends of its objects."""
    world, job = World(), ObjectId("batch", "Job", "n", "a")
    body = {**obj(1), "apiVersion": "batch/v1", "kind": "Job", "spec": {"ttlSecondsAfterFinished": 60}}

    def went() -> list[bool | None]:
        told = [c.went.watched if c.went else None for c in world.changes if c.after is None]
        world.changes.clear()
        world.seen.observed(job, body)
        return told

    went()
    world.seen.missing(job)
    assert went() == [False]
    world.seen.keep_only(("batch", "Job"), None, (), 5)
    assert went() == [False]
    world.seen.keep_only(("batch", "Job"), None, (), None)
    assert went() == [None]


def test_a_list_shows_what_was_deleted_while_nobody_watched() -> None:
    world = World()
    for name in "abc":
        world.seen.observed(oid(name), obj(1, name))
    world.seen.observed(oid("d", "other"), obj(1, "d", namespace="other"))
    world.seen.written(oid("new"), obj(9, "new"), seen_to=1)
    world.changes.clear()
    world.seen.keep_only(KEY, "n", {oid("b")}, 5)
    assert {c.oid.name for c in world.changes} == {"a", "c"}
    assert all(c.after is None for c in world.changes)
    assert world.seen.get(oid("new")) is not None, "made after the list"
    assert world.seen.get(oid("d", "other")) is not None, "not in the namespace listed"


def test_no_value_of_a_secret_is_kept() -> None:
    world = World()
    secret = {**obj(1), "kind": "Secret", "data": {"pin": "aHVudGVyMg=="}}
    seen = world.seen.reduced(ObjectId("", "Secret", "n", "a"), secret)
    assert "aHVudGVyMg==" not in repr(seen)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["observed", "written", "deleted", "forget"]),
        st.sampled_from("ab"),
        st.sampled_from("xy"),
    )
)


@given(EVENTS)
def test_what_is_known_is_what_came_last(events: list[tuple[str, str, str]]) -> None:
    world, expected = World(), dict[str, str]()
    for version, (what, name, label) in enumerate(events, 1):
        if what in ("observed", "written"):
            expected[name] = label
        else:
            expected.pop(name, None)
        if what == "observed":
            world.seen.observed(oid(name), obj(version, name, label))
        elif what == "written":
            world.seen.written(oid(name), obj(version, name, label), seen_to=version - 1)
        elif what == "deleted":
            world.seen.deleted(oid(name), obj(version, name))
        else:
            world.seen.forget(oid(name))
    assert {n: label_of(world, n) for n in "ab"} == {n: expected.get(n) for n in "ab"}
    assert len(world.seen) == len(expected)


def test_former_templates_of_a_workload_are_remembered_until_its_rollout_is_complete() -> None:
    world, web = World(), ObjectId("apps", "Deployment", "n", "a")

    def deployment(version: int, names: str, **status: int) -> dict[str, Any]:
        volume = {"name": "v", "configMap": {"name": names}}
        spec = {"template": {"spec": {"volumes": [volume]}}}
        meta = obj(version, generation=version)["metadata"]
        full = {"observedGeneration": version, **status}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec, "status": full}

    def earlier() -> Any:
        seen = world.seen.get(web)
        assert seen is not None
        assert seen.rollout is not None
        return seen.rollout.earlier

    done = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    world.seen.observed(web, deployment(2, "one", **done))
    world.seen.written(web, deployment(3, "two"), 2)
    assert ("ConfigMap", "one") in earlier()
    before = len(world.changes)
    world.seen.observed(web, deployment(4, "two", **done))
    assert (earlier(), len(world.changes)) == (frozenset(), before + 1)


def job(version: int, finished: str = "", deleted: str = "") -> dict[str, Any]:
    made = obj(version, **({"deletionTimestamp": deleted} if deleted else {}))
    done = {"type": "Complete", "status": "True", "lastTransitionTime": finished}
    status = {"conditions": [done]} if finished else {}
    return {
        **made,
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"ttlSecondsAfterFinished": 60},
        "status": status,
    }


JOB = ObjectId("batch", "Job", "n", "a")


def test_how_an_object_went_that_ends_by_itself_is_told() -> None:
    world = World()
    world.seen.observed(JOB, job(1))
    world.seen.observed(JOB, job(2, finished="2026-01-01T00:00:10Z"))
    gone = job(3, finished="2026-01-01T00:00:10Z", deleted="2026-01-01T00:01:10Z")
    world.seen.deleted(JOB, gone)
    went = world.changes[-1].went
    assert went is not None
    assert went.watched
    assert went.end is not None
    assert went.at == went.end.due


def test_a_job_that_was_told_to_go_before_it_finished_is_not_finished() -> None:
    world = World()
    world.seen.observed(JOB, job(1))
    world.seen.observed(JOB, job(2, deleted="2026-01-01T00:00:10Z"))
    world.seen.observed(JOB, job(3, finished="2026-01-01T00:00:10Z", deleted="2026-01-01T00:00:10Z"))
    seen = world.seen.get(JOB)
    assert seen is not None
    assert seen.end is not None
    assert seen.end.finished is None


def test_what_was_found_missing_was_not_watched_as_it_went() -> None:
    world = World()
    world.seen.observed(JOB, job(1))
    world.seen.keep_only(("batch", "Job"), None, frozenset(), 5)
    went = world.changes[-1].went
    assert went is not None
    assert not went.watched
