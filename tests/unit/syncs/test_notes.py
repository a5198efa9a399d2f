"""What is said of manifests that can be used."""

from __future__ import annotations

from setpoint.api.reasons import Reason
from setpoint.objects.identity import ObjectId
from setpoint.plan.desired import Desired
from setpoint.syncs.notes import Note, needs_files, notes_of


def desired(name: str, where: str, *unsent: str) -> Desired:
    oid = ObjectId("", "ConfigMap", "shop", name)
    return Desired(
        oid, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}, "d", where, None, unsent
    )


PLAIN, UID = desired("a", "a.yaml:1"), desired("b", "b.yaml:3", "metadata.uid", "status")


def test_nothing_is_said_of_what_a_person_wrote() -> None:
    assert notes_of([PLAIN], (), {}) == ()


def test_the_first_file_is_named_and_the_others_are_counted() -> None:
    text = "b.yaml:3: ConfigMap/shop/b: what the API server owns is left out: metadata.uid, status"
    assert notes_of([PLAIN, UID], (), {}) == (Note(Reason.ServerFields, text),)
    more = notes_of([UID, desired("c", "c.yaml:1", "status"), desired("d", "d.yaml:1", "status")], (), {})
    assert more == (Note(Reason.ServerFields, f"{text} (and 2 more objects)"),)


def test_a_built_object_is_named_by_its_file() -> None:
    (note,) = notes_of([UID], (), {ObjectId("", "ConfigMap", "", "b"): "base/b.yaml"})
    assert note.message.startswith("base/b.yaml: ConfigMap/shop/b: ")


def test_equal_documents_are_told_once() -> None:
    (note,) = notes_of([PLAIN], ("b.yaml:1: ConfigMap/a is said at a.yaml:1 already", "x"), {})
    assert note == Note(
        Reason.Duplicate,
        "b.yaml:1: ConfigMap/a is said at a.yaml:1 already; it counts once (and 1 more document)",
    )


def test_what_a_controller_owns_is_told_once() -> None:
    oid = ObjectId("rbac.authorization.k8s.io", "ClusterRole", "", "all")
    manifest = {"metadata": {"name": "all"}, "aggregationRule": {"x": []}, "rules": [{"verbs": ["get"]}]}
    role = Desired(oid, manifest, "d", "roles.yaml:1", None)
    assert needs_files([PLAIN, role])
    assert not needs_files([PLAIN])
    text = "roles.yaml:1: ClusterRole/all: what a controller owns is left to it: /rules"
    assert notes_of([PLAIN, role], (), {}) == (Note(Reason.ControllerFields, text),)
