"""What people did to an object is taken back by the patch before the apply, where the apply alone is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch

from setpoint.objects import managed_fields
from setpoint.objects.identity import ObjectId
from setpoint.plan.desired import Desired
from setpoint.plan.diff import foreign_additions
from setpoint.plan.unions.candidates import Candidate
from setpoint.plan.unions.exchange import MOST, Exchange
from setpoint.plan.unions.places import Place, Tries
from setpoint.plan.unions.undo import sent_fields, undo

Json = dict[str, Any]
META = {"name": "web", "namespace": "team"}


def key(port: int) -> str:
    return f"k:{json.dumps({'port': port, 'protocol': 'TCP'})}"


def owned(*ports: int) -> Json:
    fields: Json = {".": {}, "f:port": {}, "f:protocol": {}}
    return {"f:spec": {"f:ports": {key(p): fields for p in ports}}}


def entry(manager: str, operation: str, fields: Json) -> Json:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields}


def service(*ports: Json, managed: list[Json] | None = None, **spec: Any) -> Json:
    meta = META if managed is None else {**META, "resourceVersion": "7", "managedFields": managed}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": dict(meta),
        "spec": {**spec, "ports": [*ports]},
    }


def live(port: int, *more: Json, **spec: Any) -> Json:
    """Return a Service of port 80 whose port somebody changed in place."""
    managed = [entry("setpoint", "Apply", owned(80)), entry("kubectl-edit", "Update", owned(port))]
    return service({"port": port, "protocol": "TCP", "targetPort": port}, *more, managed=managed, **spec)


def desired(git: Json) -> Desired:
    return Desired(ObjectId("", "Service", "team", "web"), git, "d", "a.yaml:1", None)


def undone(there: Json, git: Json) -> Exchange | None:
    people = foreign_additions(there, desired(git), (), frozenset(), sent_fields(there, git))
    return undo(there, git, people)


def after(there: Json, found: Exchange | None) -> Json:
    assert found is not None
    made: Json = jsonpatch.apply_patch(there, [dict(op) for op in found.operations])
    return made


GIT = service({"port": 80})


def test_a_port_that_was_changed_by_hand_is_changed_back() -> None:
    there = live(81)
    found = undone(there, GIT)
    assert after(there, found)["spec"]["ports"] == [{"port": 80}]
    assert found is not None
    assert found.takes_back
    assert found.operations[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    # Elsewhere the dry run is of what Git sets; there, of what is.
    assert found.rest["spec"]["ports"] == there["spec"]["ports"]
    assert found.predicted(there, after(there, found))["spec"]["ports"] == [{"port": 80}]


def test_what_git_sets_is_never_taken_away_though_a_person_owns_it_now() -> None:
    """Who edits what Git sets owns it from then on, and we do not."""
    fields = {"f:spec": {"f:type": {}, "f:selector": {"f:app": {}}, **owned(81)["f:spec"]}}
    there = live(81, type="NodePort", selector={"app": "b"})
    there["metadata"]["managedFields"][1]["fieldsV1"] = fields
    git = service({"port": 80}, type="ClusterIP", selector={"app": "a"})
    made = after(there, undone(there, git))["spec"]
    assert made["ports"] == [{"port": 80}]
    assert {"type", "selector"} <= made.keys()


def test_elements_of_others_stay_and_indexes_stay_right() -> None:
    there = live(81, {"port": 443, "protocol": "TCP"}, {"port": 82, "protocol": "TCP"})
    there["metadata"]["managedFields"][1]["fieldsV1"] = owned(81, 82)
    there["metadata"]["managedFields"].append(entry("mesh", "Update", owned(443)))
    ports = after(there, undone(there, GIT))["spec"]["ports"]
    assert ports == [{"port": 443, "protocol": "TCP"}, {"port": 80}]


def test_a_default_of_a_key_is_known() -> None:
    """Git leaves the protocol out: an element that is as Git says is no addition, whoever owns it."""
    there = live(80)
    there["metadata"]["managedFields"][0]["fieldsV1"] = {}
    assert undone(there, GIT) is None
    assert undone(there, service({"port": 80, "protocol": "TCP"})) is None


def test_sets_and_lists_without_keys_are_left_to_the_apply() -> None:
    there = service(managed=[], tags=["a", "b"], args=["x"])
    fields: Json = {"f:spec": {"f:tags": {'v:"a"': {}, 'v:"b"': {}}, "f:args": {}}}
    there["metadata"]["managedFields"] = [entry("kubectl", "Update", fields)]
    found = undone(there, service(tags=["a"], args=["y"]))
    made = after(there, found)["spec"]
    assert (made["tags"], made["args"]) == (["a"], ["x"])


def test_nobody_makes_so_many_additions_by_hand() -> None:
    there = live(81)
    ports = range(1000, 1001 + MOST)
    there["spec"]["ports"] = [{"port": p, "protocol": "TCP"} for p in ports]
    there["metadata"]["managedFields"][1]["fieldsV1"] = owned(*ports)
    assert undone(there, GIT) is None


def test_nothing_is_done_where_nobody_added_anything() -> None:
    there = copy.deepcopy(live(80))
    there["metadata"]["managedFields"] = [entry("setpoint", "Apply", owned(80))]
    assert undone(there, GIT) is None
    assert managed_fields.person_entries(there["metadata"]["managedFields"]) == []


def named(name: str, devices: list[Json], **more: Any) -> Json:
    return {"name": name, "devices": devices, **more}


def device(path: str) -> str:
    return f"k:{json.dumps({'path': path})}"


def test_it_is_found_in_elements_of_elements_and_with_what_else_is_in_the_way() -> None:
    """A person moved a device of one container, gave it a note that Git knows nothing of, and set another member of a union."""
    container = 'k:{"name":"b"}'
    own: Json = {
        "f:spec": {"f:containers": {container: {"f:devices": {device("/a"): {".": {}, "f:path": {}}}}}}
    }
    hand: Json = {
        ".": {},
        "f:devices": {device("/b"): {".": {}, "f:path": {}}},
        "f:note": {"f:text": {"f:by": {}}},
    }
    entries = [
        entry("setpoint", "Apply", own),
        entry("kubectl", "Update", {"f:spec": {"f:containers": {container: hand}}}),
    ]
    there = service(managed=entries)
    there["spec"] = {
        "containers": [named("a", []), named("b", [{"path": "/b"}], note={"text": {"by": "x", "at": "y"}})],
        "member": {"default": True},
    }
    git = service()
    git["spec"] = {"containers": [named("b", [{"path": "/a"}])], "other": {}}
    people = foreign_additions(there, desired(git), (), frozenset(), sent_fields(there, git))
    root = Place(git, there, Tries({}, {}, {})).field("spec")
    found = undo(there, git, people, [Candidate(root, "member")])
    made = after(there, found)["spec"]
    assert made["containers"][1] == named("b", [{"path": "/a"}], note={"text": {"at": "y"}})
    assert ("member" in made, made["other"]) == (False, {})


def test_all_of_a_top_level_field_is_set_where_its_parts_depend_on_each_other() -> None:
    """With `hostNetwork` the ports are the node's: Git is refused beside the person's, and his element goes only by the patch."""
    there, git = live(81), service({"port": 80}, hostNetwork=True)
    narrow = undone(there, git)
    assert narrow is not None
    assert "hostNetwork" in narrow.rest["spec"]
    people = foreign_additions(there, desired(git), (), frozenset(), sent_fields(there, git))
    found = undo(there, git, people, whole=True)
    assert after(there, found)["spec"] == git["spec"]
    assert found is not None
    assert found.rest["spec"] == there["spec"]
    assert found.rest["metadata"] == git["metadata"]


def test_a_list_of_thousands_is_gone_through_once() -> None:
    """Where each element was looked for in the whole list this took minutes."""
    ports = range(20_000)
    there = live(80)
    there["spec"]["ports"] = [{"port": p, "protocol": "TCP"} for p in ports]
    there["metadata"]["managedFields"][0]["fieldsV1"] = owned(*ports)
    git = service(*({"port": p} for p in ports))
    assert len(sent_fields(there, git)["f:spec"]["f:ports"]) == len(ports)
