"""managedFields: what persons added is found, removed and kept as the rules say."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api import names
from setpoint.objects import managed_fields

DEPLOYMENT: dict[str, Any] = {
    "metadata": {
        "labels": {"app": "web", "x": "1"},
        "annotations": {"kubectl.kubernetes.io/restartedAt": "now"},
    },
    "spec": {
        "replicas": 3,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "web:1",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    },
                    {"name": "spy", "image": "spy:1"},
                ]
            }
        },
    },
}
OURS: managed_fields.FieldSet = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"web"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                    }
                }
            }
        }
    },
}
THEIRS: managed_fields.FieldSet = {
    "f:metadata": {"f:labels": {"f:x": {}}, "f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"web"}': {"f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}},
                    'k:{"name":"spy"}': {".": {}, "f:name": {}, "f:image": {}},
                }
            }
        },
    },
}


def test_additions_are_the_highest_nodes_that_nobody_else_owns() -> None:
    found = {managed_fields.pointer(p) for p, _ in managed_fields.additions(DEPLOYMENT, THEIRS, OURS)}
    assert found == {
        "/metadata/labels/x",
        "/metadata/annotations/kubectl.kubernetes.io~1restartedAt",
        "/spec/replicas",
        "/spec/template/spec/containers/0/env/1",
        "/spec/template/spec/containers/1",
    }


def test_an_operation_is_not_configuration() -> None:
    kept = [
        managed_fields.pointer(p)
        for p, _ in managed_fields.additions(DEPLOYMENT, THEIRS, OURS)
        if managed_fields.is_kept(p)
    ]
    assert kept == ["/metadata/annotations/kubectl.kubernetes.io~1restartedAt"]


def test_removals_are_guarded_by_key_and_value() -> None:
    (path, value) = next(
        (p, v)
        for p, v in managed_fields.additions(DEPLOYMENT, THEIRS, OURS)
        if managed_fields.pointer(p).endswith("/env/1")
    )
    patch = managed_fields.removal(path, value)
    after = jsonpatch.apply_patch(DEPLOYMENT, patch)
    assert after["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]
    moved = copy.deepcopy(DEPLOYMENT)
    moved["spec"]["template"]["spec"]["containers"].reverse()
    try:
        jsonpatch.apply_patch(moved, patch)
    except (jsonpatch.JsonPatchTestFailed, jsonpatch.JsonPatchConflict):
        return
    raise AssertionError("the patch must not touch another element")


def test_a_persons_entry_and_time_show_in_ownership_and_a_controllers_do_not() -> None:
    own = {"manager": "setpoint", "operation": "Apply", "fieldsV1": OURS, "time": "t1"}
    controller = {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "fieldsV1": THEIRS,
        "time": "t2",
    }
    person = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": THEIRS, "time": "t3"}
    base = managed_fields.ownership([own])
    assert managed_fields.ownership([own, controller]) == base
    assert managed_fields.ownership([own, person]) != base
    assert (
        managed_fields.ownership([{**own, "fieldsV1": {k: v for k, v in OURS.items() if k != "f:metadata"}}])
        != base
    )
    assert managed_fields.ownership([own, {**person, "subresource": "status"}]) == base
    assert managed_fields.ownership([own, {**person, "subresource": "scale"}]) == base
    assert (
        managed_fields.ownership([own, {**person, "manager": "deploy-bot"}], frozenset({"deploy-bot"}))
        != base
    )


def test_adoption_keeps_what_people_had_and_gives_git_its_fields() -> None:
    managed = [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "t",
            "fieldsV1": managed_fields.union(OURS, THEIRS),
        },
        {
            "manager": "kube-controller-manager",
            "operation": "Update",
            "apiVersion": "v1",
            "fieldsV1": {"f:status": {}},
        },
    ]
    after = managed_fields.adopted(managed, OURS, frozenset())
    assert after is not None
    assert [e["manager"] for e in after] == ["kube-controller-manager", "setpoint-adopted"]
    kept = managed_fields.pointers(DEPLOYMENT, after[1]["fieldsV1"])
    assert "/spec/replicas" in kept
    assert "/metadata/labels/app" not in kept
    assert managed_fields.ownership(after).people == ()
    assert managed_fields.adopted(after, OURS, frozenset()) is None


tries: st.SearchStrategy[managed_fields.FieldSet] = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", "f:c", "."]), inner, max_size=3),
    max_leaves=8,
)


@given(tries, tries)
def test_union_holds_both_and_subtracting_leaves_nothing_of_the_right(
    left: managed_fields.FieldSet, right: managed_fields.FieldSet
) -> None:
    both = managed_fields.union(left, right)
    assert managed_fields.subtract(left, both) == {}
    assert managed_fields.subtract(right, both) == {}
    assert managed_fields.subtract(left, {}) == left


def test_sets_and_indexes_resolve_and_what_is_gone_is_passed_over() -> None:
    obj = {"finalizers": ["a", "b"], "atomic": [1, 2], "map": {"x": 1}}
    trie: managed_fields.FieldSet = {
        "f:finalizers": {'v:"b"': {}, 'v:"gone"': {}},
        "f:atomic": {"i:1": {}, "i:9": {}},
        "f:map": {".": {}, "f:x": {}},
        "f:gone": {},
        "f:x": {"k:{}": {}},
    }
    assert managed_fields.pointers(obj, trie) == {"/finalizers/1", "/atomic/1", "/map/x"}
    assert managed_fields.pointers({"list": [{"a": 1}]}, {"f:list": {'k:{"a":2}': {}}, "i:0": {}}) == set()


def test_metadata_that_the_system_needs_is_kept() -> None:
    for tokens in ("metadata/finalizers/0", "metadata/ownerReferences", "status/x"):
        assert managed_fields.is_kept(tuple(managed_fields.Step(t) for t in tokens.split("/")))
    assert not managed_fields.is_kept((managed_fields.Step("metadata"), managed_fields.Step("annotations")))
    assert not managed_fields.is_kept((managed_fields.Step("spec"), managed_fields.Step("replicas")))


def test_annotations_are_looked_at_one_by_one_so_that_an_operation_survives_an_addition() -> None:
    key = "kubectl.kubernetes.io/restartedAt"
    obj = {"metadata": {"annotations": {key: "now", "x": "1"}}}
    theirs: managed_fields.FieldSet = {"f:metadata": {"f:annotations": {".": {}, f"f:{key}": {}, "f:x": {}}}}
    found = [p for p, _ in managed_fields.additions(obj, theirs, {}) if not managed_fields.is_kept(p)]
    assert [managed_fields.pointer(p) for p in found] == ["/metadata/annotations/x"]


def step_by_step(*tokens: str) -> managed_fields.Path:
    return tuple(managed_fields.Step(token) for token in tokens)


@pytest.mark.parametrize("name", ["requested", "prune", "adopt"])
def test_an_annotation_of_people_stays_on_the_object_itself_and_nowhere_else(name: str) -> None:
    key = f"setpoint.dev/{name}"
    assert key in names.PEOPLES_ANNOTATIONS
    assert managed_fields.is_kept(step_by_step("metadata", "annotations", key))
    for place in (
        ("spec", "template", "metadata", "annotations", key),
        ("spec", "annotations", key),
        ("metadata", "labels", key),
        ("data", key),
    ):
        assert not managed_fields.is_kept(step_by_step(*place))


@pytest.mark.parametrize("name", ["owner", "dropped-by", "wave", "hook", "encrypted", "sync", "anything"])
def test_an_annotation_that_is_ours_or_gits_is_never_peoples(name: str) -> None:
    assert not managed_fields.is_kept(step_by_step("metadata", "annotations", f"setpoint.dev/{name}"))


def test_every_annotation_of_the_group_is_peoples_gits_or_ours() -> None:
    every = {value for name, value in vars(names).items() if name.startswith("ANNOTATION_")}
    of_the_group = {value for value in every if value.startswith(f"{names.GROUP}/")}
    stamps = {names.ANNOTATION_CHANGED_BY, names.ANNOTATION_CHANGED_FROM}
    gits = {names.ANNOTATION_WAVE, names.ANNOTATION_ENCRYPTED}
    ours = {names.ANNOTATION_OWNER, names.ANNOTATION_DROPPED_BY}
    assert of_the_group == names.PEOPLES_ANNOTATIONS | stamps | gits | ours


def entry(manager: str, fields: managed_fields.FieldSet, operation: str = "Update", **more: str) -> Any:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "time": "t",
        "fieldsV1": fields,
        **more,
    }


OWN = entry("setpoint", {"f:data": {"f:k": {}}}, "Apply")
RECORD = {k: v for k, v in entry("setpoint-adopted", {"f:data": {"f:a": {}}}, "Apply").items() if k != "time"}
DATA: managed_fields.FieldSet = {"f:data": {"f:x": {}}}


@pytest.mark.parametrize(
    "written",
    [
        entry("setpoint", DATA),
        entry("setpoint", DATA, subresource="scale"),
        entry("setpoint", DATA, "Apply", subresource="scale"),
        entry("setpoint", {"f:metadata": {"f:labels": {"f:x": {}}}}),
        entry(
            "setpoint", {"f:metadata": {"f:annotations": {".": {}, "f:x": {}, "f:setpoint.dev/prune": {}}}}
        ),
        entry("setpoint", {"f:metadata": {"f:annotations": {"f:setpoint.dev/wave": {}}}}),
        entry("setpoint-adopted", DATA),
        entry("setpoint-adopted", DATA, "Apply"),
        entry("setpoint-adopted", DATA, "Apply", subresource="scale"),
    ],
)
def test_whoever_writes_under_our_names_is_a_person(written: Any) -> None:
    managed = [OWN, RECORD, written]
    assert managed_fields.strays(managed) == managed_fields.person_entries(managed) == [written]
    assert managed_fields.ownership(managed) != managed_fields.ownership([OWN, RECORD])
    left = jsonpatch.apply_patch(
        {"metadata": {"managedFields": managed}}, managed_fields.without_strays(managed)
    )["metadata"]["managedFields"]
    assert left[:2] == [OWN, RECORD]
    assert managed_fields.strays(left) == []


@pytest.mark.parametrize(
    "marks",
    [
        {"f:finalizers": {".": {}, 'v:"setpoint.dev/finalizer"': {}}},
        {"f:ownerReferences": {}},
        {"f:annotations": {".": {}, "f:setpoint.dev/dropped-by": {}}},
        {"f:annotations": {"f:setpoint.dev/requested": {}, "f:kubectl.kubernetes.io/restartedAt": {}}},
        {"f:annotations": {".": {}}},
        {},
    ],
)
def test_our_own_marks_are_no_persons_and_cost_no_look(marks: managed_fields.FieldSet) -> None:
    managed = [OWN, entry("setpoint", {"f:metadata": marks} if marks else {})]
    assert managed_fields.strays(managed) == managed_fields.without_strays(managed) == []
    assert managed_fields.ownership(managed) == managed_fields.ownership([OWN])


def test_the_status_is_written_under_our_name_and_no_persons() -> None:
    written = entry("setpoint", {"f:status": {"f:x": {}}}, subresource="status")
    assert managed_fields.strays([written]) == managed_fields.person_entries([written]) == []


def test_an_apply_under_our_name_shows_in_what_the_policy_noted() -> None:
    """It leaves the entry that ours would leave, and within a second with the same time."""
    noted = {names.ANNOTATION_CHANGED_BY: "mallory", names.ANNOTATION_CHANGED_FROM: "7"}
    under = {**noted, names.ANNOTATION_CHANGED_FROM: "7 as setpoint"}
    quiet = managed_fields.ownership([OWN])
    assert managed_fields.ownership([OWN], frozenset(), noted) == quiet
    first = managed_fields.ownership([OWN], frozenset(), under)
    again = managed_fields.ownership(
        [OWN], frozenset(), {**under, names.ANNOTATION_CHANGED_FROM: "8 as setpoint"}
    )
    assert len({quiet, first, again}) == 3


def test_what_was_adopted_is_kept_in_one_record_that_nobodys_write_is_taken_for() -> None:
    person = entry("kubectl-edit", {"f:data": {"f:k": {}, "f:b": {}}})
    borrowed = entry("setpoint-adopted", {"f:data": {"f:c": {}}})
    after = managed_fields.adopted([OWN, RECORD, person, borrowed], OWN["fieldsV1"], frozenset())
    assert after is not None
    assert after[0] == OWN
    (record,) = after[1:]
    assert managed_fields.is_adopted(record)
    assert record["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}, "f:c": {}}}
    assert managed_fields.person_entries(after) == []


@given(st.recursive(st.just({}), lambda inner: st.dictionaries(st.text(), inner, max_size=4), max_leaves=20))
def test_a_digest_is_that_of_the_slow_library(trie: managed_fields.FieldSet) -> None:
    """It is in statuses: another one would have everything looked at again after an upgrade."""
    assert managed_fields._canonical(trie) == _slow(trie)


def test_a_digest_of_a_trie_beyond_the_fast_library() -> None:
    deep: managed_fields.FieldSet = {}
    for _ in range(300):
        deep = {"f:a": deep}
    assert managed_fields._canonical(deep) == _slow(deep)


def _slow(trie: managed_fields.FieldSet) -> bytes:
    return json.dumps(trie, sort_keys=True, separators=(",", ":")).encode()
