"""Where `status` is no subresource it is a field like any other: applied, compared, and rid of what people add."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.api import names
from setpoint.objects import managed_fields
from setpoint.objects.identity import ObjectId, SyncKey, identity, owner_annotation
from setpoint.objects.kinds import Kind
from setpoint.plan import decide as plan
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired, OwnershipMarks, Ref, stamped
from setpoint.plan.diff import comparable, has_plain_status
from setpoint.plan.drift import meant_otherwise
from setpoint.plan.order import stage_key

Json = dict[str, Any]
ME = SyncKey("team", "web")
CRD = ObjectId("apiextensions.k8s.io", "CustomResourceDefinition", "", "switches.example.org")


def kind(*, status: bool) -> Kind:
    return Kind("example.org", "v1", "Switch", "switches", True, frozenset(), status)


def desired(status: Any = None, *, kind: Kind | None = None) -> Desired:
    """A Switch of Git's; without a kind, what discovery knows is not the point."""
    head = {
        "apiVersion": "example.org/v1",
        "kind": "Switch",
        "metadata": {"name": "hall", "namespace": "team"},
    }
    manifest: Json = {**head, **({} if status is None else {"status": status})}
    oid = identity(manifest)
    return Desired(oid, stamped(manifest, oid, OwnershipMarks(ME, "label")), "digest", "s.yaml:1", kind)


def stored(d: Desired, status: Any = None, *, owned: bool = False, people: Any = None) -> Json:
    """The object as a server has it; `owned`: an apply may set the status, and did."""
    entry = {"manager": names.FIELD_MANAGER, "operation": "Apply", "apiVersion": "example.org/v1"}
    managed: list[Json] = [{**entry, "fieldsV1": {"f:status": {"f:wanted": {}}} if owned else {}}]
    if people is not None:
        update = {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "example.org/v1"}
        managed.append({**update, "fieldsV1": people})
    annotations = {names.ANNOTATION_OWNER: owner_annotation(ME, d.id)}
    meta = {**d.manifest["metadata"], "annotations": annotations, "managedFields": managed}
    return {**d.manifest, "metadata": meta, **({} if status is None else {"status": status})}


def judge(d: Desired, live: Json, predicted: Json) -> Change:
    return plan.decide(d, live, predicted, ME, (), frozenset())


ON, OFF = {"wanted": "on"}, {"wanted": "off"}


@pytest.mark.parametrize("known", [None, kind(status=False), kind(status=True)])
def test_a_status_of_git_s_that_the_server_takes_is_applied_whatever_discovery_knew(
    known: Kind | None,
) -> None:
    d = desired(ON, kind=known)
    change = judge(d, stored(d, OFF, owned=True), stored(d, ON, owned=True))
    assert change.patch == ({"op": "replace", "path": "/status/wanted", "value": "on"},)
    assert judge(d, stored(d, ON, owned=True), stored(d, ON, owned=True)).action is Action.KEEP


@pytest.mark.parametrize("known", [None, kind(status=False), kind(status=True)])
def test_a_status_of_git_s_that_the_server_sets_aside_is_no_difference(known: Kind | None) -> None:
    """Between the read and the dry run a controller may have written it."""
    d = desired(ON, kind=known)
    assert judge(d, stored(d, {"ready": 1}), stored(d, {"ready": 2})).action is Action.KEEP


@pytest.mark.parametrize(
    ("known", "patch"),
    [
        (None, ()),
        (kind(status=True), ()),
        (kind(status=False), ({"op": "remove", "path": "/status"},)),
    ],
)
def test_where_git_sets_none_discovery_knows(known: Kind | None, patch: Any) -> None:
    d = desired(kind=known)
    assert judge(d, stored(d, ON, owned=True), stored(d)).patch == patch


@pytest.mark.parametrize(("status", "gone"), [(True, []), (False, ["/status/extra"])])
def test_what_people_add_to_a_plain_status_goes(status: bool, gone: list[str]) -> None:
    d = desired(kind=kind(status=status))
    obj = stored(d, {"extra": "1", "by": "us"}, people={"f:status": {"f:extra": {}}})
    obj["metadata"]["managedFields"].append(
        {"manager": "controller", "operation": "Update", "fieldsV1": {"f:status": {"f:by": {}}}}
    )
    change = judge(d, obj, obj)
    assert [managed_fields.pointer(path) for path, _ in change.additions] == gone
    assert change.action is (Action.PATCH if gone else Action.KEEP)


def test_an_empty_status_of_git_s_is_none() -> None:
    d = desired(kind=kind(status=False))
    null = Desired(d.id, {**d.manifest, "status": None}, d.digest, d.where, d.kind)
    assert has_plain_status(null, stored(d))
    assert comparable({"metadata": {}, "status": ON}) == {"metadata": {}}


# --- a CRD that changes


def crd(kind: str = "Switch") -> Desired:
    manifest = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD.name},
        "spec": {"group": "example.org", "names": {"kind": kind}},
    }
    return Desired(CRD, manifest, "digest", "crd.yaml:1", None)


def ref(d: Desired) -> Ref:
    return Ref(d.id, d.manifest["apiVersion"], d.digest, d.where, stage_key(d.id, 0))


@pytest.mark.parametrize(
    ("path", "again"),
    [
        ("/spec/versions/0/subresources", True),
        ("/spec/versions/1/subresources/status", True),
        ("/spec/versions/1", True),
        ("/spec/versions", True),
        ("/spec/versions/0/schema/openAPIV3Schema/properties/subresources", False),
        ("/spec/versions/0/served", False),
        ("/metadata/labels/x", False),
    ],
)
def test_what_status_means_is_asked_again_once_subresources_of_the_crd_changed(
    path: str, again: bool
) -> None:
    d, other = desired(), crd()
    change = Change(CRD, Action.PATCH, patch=({"op": "remove", "path": path},))
    refs = [ref(d), ref(other)]
    assert meant_otherwise([change], [other, d], refs) == ({d.id} if again else set())
    assert meant_otherwise([change], [crd("Lamp"), d], refs) == set()
    assert meant_otherwise([], [other, d], refs) == set()
