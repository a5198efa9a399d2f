"""One member of a union replaced by another: what a refusal is about, and the patch that takes the old one away."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

import jsonpatch
import pytest

from setpoint.objects import managed_fields
from setpoint.plan.ignore import paths
from setpoint.plan.unions.exchange import MOST, Exchange, verdict
from setpoint.plan.unions.places import tokens_of_field

Json = dict[str, Any]
HTTP = {"httpGet": {"path": "/", "port": 80}}


@dataclass(frozen=True)
class Cause:
    field: str
    message: str = ""


def trie(value: Any) -> Json:
    """Return fieldsV1 of a value as an apply owns it; lists are keyed by name."""
    if isinstance(value, dict):
        return {f"f:{k}": trie(v) for k, v in value.items()}
    if isinstance(value, list) and value and all(isinstance(e, dict) and "name" in e for e in value):
        return {f"k:{json.dumps({'name': e['name']})}": {".": {}, **trie(e)} for e in value}
    return {}


def entry(manager: str, value: Any, operation: str = "Update") -> Json:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": trie(value)}


def manifest(spec: Json) -> Json:
    return {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec}


def stored(spec: Json, *entries: Json) -> Json:
    made = manifest(spec)
    made["metadata"] = {"name": "x", "resourceVersion": "7", "managedFields": list(entries)}
    return made


def pod(*containers: Json) -> Json:
    return {"containers": list(containers)}


def exchange(live: Json, git: Json, *causes: Cause, former: frozenset[str] | None = None) -> Exchange:
    found = verdict(live, git, causes, former)
    assert found.exchange is not None, found.words
    return found.exchange


def patched(live: Json, found: Exchange) -> Json:
    made: Json = jsonpatch.apply_patch(live, [dict(op) for op in found.operations])["spec"]
    return made


STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}
PROBE = {"name": "a", "image": "i", "probe": {**HTTP, "period": 5}}
OTHER = {"name": "b", "image": "i", "probe": {**HTTP, "period": 5}}
TCP = {"name": "a", "probe": {"tcpSocket": {"port": 80}}}


@pytest.mark.parametrize(
    ("live", "git", "cause", "after"),
    [
        # The old member is named.
        ({"s": STRATEGY}, {"s": {"type": "Recreate"}}, "spec.s.rollingUpdate", {"s": {"type": "Recreate"}}),
        # Null sets nothing.
        (
            {"s": STRATEGY},
            {"s": {"type": "Recreate", "rollingUpdate": None}},
            "spec.s.rollingUpdate",
            {"s": {"type": "Recreate"}},
        ),
        # Something in the old member is named, and goes with it.
        (
            pod(PROBE),
            pod(TCP),
            "spec.containers[0].probe.httpGet.port",
            pod({**PROBE, "probe": {"period": 5, "tcpSocket": {"port": 80}}}),
        ),
        # The new member is named; what is no object beside it stays.
        (
            pod(OTHER, PROBE),
            pod({"name": "b", **HTTP}, TCP),
            "spec.containers[1].probe.tcpSocket",
            pod(OTHER, {**PROBE, "probe": {"period": 5, "tcpSocket": {"port": 80}}}),
        ),
        # The node is named as it was called in an older API.
        (
            {"c": {"how": "Webhook", "hook": {"url": "u"}}},
            {"c": {"how": "None"}},
            "spec.c.oldHook",
            {"c": {"how": "None"}},
        ),
        # The node itself is named.
        (
            {"c": {"hook": {"service": {"port": 443}}}},
            {"c": {"hook": {"url": "u"}}},
            "spec.c.hook",
            {"c": {"hook": {"url": "u"}}},
        ),
    ],
)
def test_the_old_member_goes_and_the_new_one_is_set(live: Json, git: Json, cause: str, after: Json) -> None:
    known = stored(live, entry("setpoint-adopted", {"spec": live}))
    assert patched(known, exchange(known, manifest(git), Cause(cause))) == after


def test_a_value_goes_if_the_message_names_it() -> None:
    live, git = {"min": 1, "keep": 3, "selector": {}}, {"max": 1, "selector": {}}
    found = exchange(stored(live), manifest(git), Cause("spec", "min and max are mutually exclusive"))
    assert patched(stored(live), found) == {"max": 1, "keep": 3, "selector": {}}
    assert verdict(stored(live), manifest(git), [Cause("spec.selector", "is wrong")], None).exchange is None
    # A value that both have is named: what is beside it, by the same rule.
    live, git = {"n": {"surge": 0, "away": 1}}, {"n": {"surge": 1}}
    found = exchange(stored(live), manifest(git), Cause("spec.n.surge", "not while away is set"))
    assert patched(stored(live), found) == {"n": {"surge": 1}}


def test_where_both_members_are_named_by_the_new_ones_place_the_old_one_goes() -> None:
    live, git = {"v": {"a": {"x": 1}, "b": {"y": 1}}}, {"v": {"b": {"y": 1}}}
    found = exchange(stored(live), manifest(git), Cause("spec.v.b", "may not specify more than 1"))
    assert patched(stored(live), found) == git


def test_what_others_own_stays_and_is_named() -> None:
    live = stored({"s": STRATEGY}, entry("surger", {"spec": {"s": {"rollingUpdate": {"maxSurge": "25%"}}}}))
    git = manifest({"s": {"type": "Recreate"}})
    found = verdict(live, git, [Cause("spec.s.rollingUpdate")], None)
    assert found.exchange is None
    assert "spec.s.rollingUpdate" in found.words
    assert "surger" in found.words
    # At an adoption the fields of people and former tools are the Sync's.
    person = stored({"s": STRATEGY}, entry("kubectl-edit", {"spec": {"s": STRATEGY}}))
    assert verdict(person, git, [Cause("spec.s.rollingUpdate")], None).exchange is None
    assert exchange(person, git, Cause("spec.s.rollingUpdate"), former=frozenset())


@pytest.mark.parametrize(
    ("live", "git", "cause", "ignored", "spared"),
    [
        ({"s": STRATEGY}, {"s": {"type": "Recreate"}}, "spec.s.rollingUpdate", "/spec/s/rollingUpdate", "spec.s.rollingUpdate"),
        # A rule names what lies in the field, or what the field lies in.
        ({"s": STRATEGY}, {"s": {"type": "Recreate"}}, "spec.s.rollingUpdate", "/spec/s/rollingUpdate/maxSurge", "spec.s.rollingUpdate"),
        ({"s": STRATEGY}, {"s": {"type": "Recreate"}}, "spec.s.rollingUpdate", "/spec/s", "spec.s.rollingUpdate"),
        # A list in the field: an index counts in Git's manifest, which has no such list.
        ({"v": {"a": {"x": [1]}}}, {"v": {"b": {"y": 1}}}, "spec.v.b", "/spec/v/a/x/0", "spec.v.a"),
        (pod(OTHER, PROBE), pod({"name": "b", **HTTP}, TCP), "spec.containers[1].probe.tcpSocket",
         "/spec/containers/[name=a]/probe/httpGet/port", "spec.containers[name=a].probe.httpGet"),
        (pod(OTHER, PROBE), pod({"name": "b", **HTTP}, TCP), "spec.containers[1].probe.tcpSocket",
         "/spec/containers/1/probe", "spec.containers[name=a].probe.httpGet"),
        # Another field, one that is not there, and another element.
        ({"s": STRATEGY}, {"s": {"type": "Recreate"}}, "spec.s.rollingUpdate", "/spec/s/type", None),
        ({"s": STRATEGY}, {"s": {"type": "Recreate"}}, "spec.s.rollingUpdate", "/spec/s/rollingUpdate/partition", None),
        ({"v": {"a": {"x": []}}}, {"v": {"b": {"y": 1}}}, "spec.v.b", "/spec/v/a/x/0", None),
        (pod(OTHER, PROBE), pod({"name": "b", **HTTP}, TCP), "spec.containers[1].probe.tcpSocket",
         "/spec/containers/[name=b]/probe", None),
    ],
)  # fmt: skip
def test_what_an_ignore_rule_names_is_never_taken_away(
    live: Json, git: Json, cause: str, ignored: str, spared: str | None
) -> None:
    known = stored(live, entry("setpoint-adopted", {"spec": live}))
    found = verdict(known, manifest(git), [Cause(cause)], None, paths.tree_of([ignored]))
    if spared is None:
        assert found.exchange is not None
        assert found.words == ""
    else:
        assert found.exchange is None
        assert found.words == (
            f"{spared} is not in Git and is left to others by spec.ignore, so it stays: "
            "remove it from the object, or its path from spec.ignore"
        )


def test_what_nobody_ignores_goes_beside_what_somebody_does() -> None:
    live = {"v": {"a": {"x": 1}, "b": {"y": 1}, "c": {"z": 1}}}
    known, git = stored(live), manifest({"v": {"b": {"y": 1}}})
    found = verdict(known, git, [Cause("spec.v.b")], None, paths.tree_of(["/spec/v/a"]))
    assert found.exchange is not None
    assert patched(known, found.exchange) == {"v": {"a": {"x": 1}, "b": {"y": 1}}}
    assert "spec.v.a is not in Git and is left to others by spec.ignore" in found.words


@pytest.mark.parametrize(
    "cause",
    [
        "",
        "metadata.labels",
        "spec",
        "status.x",
        "spec.containers[7].probe",
        "spec.containers.x",
        "spec.s.rollingUpdate." + "x" * 1000,
        "x",
    ],
)
def test_nothing_is_patched_for_other_causes(cause: str) -> None:
    live = stored({"s": STRATEGY, **pod(PROBE)})
    assert (
        verdict(live, manifest({"s": {"type": "Recreate"}, **pod(TCP)}), [Cause(cause)], None).exchange
        is None
    )


def test_the_owner_is_found_without_a_look_at_all_that_it_owns(monkeypatch: pytest.MonkeyPatch) -> None:
    # Going through 10,000 elements, each looked for in its list, would keep the operator busy for long.
    monkeypatch.delattr(managed_fields, "pointers")
    mine = {"s": STRATEGY, "list": [{"name": str(i), "v": 1} for i in range(10_000)]}
    found = verdict(
        stored(mine, entry("ctl", {"spec": mine})),
        manifest({"s": {"type": "Recreate"}}),
        [Cause("spec.s.rollingUpdate")],
        None,
    )
    assert found.exchange is None
    assert "belongs to ctl" in found.words


def test_the_patch_is_for_this_object_and_no_other() -> None:
    live = stored(pod(OTHER, PROBE), entry("setpoint-adopted", {"spec": pod(OTHER, PROBE)}))
    found = exchange(live, manifest(pod(OTHER, TCP)), Cause("spec.containers[1].probe.tcpSocket"))
    tests = [(op["path"], op["value"]) for op in found.operations if op["op"] == "test"]
    assert tests == [
        ("/metadata/resourceVersion", "7"),
        ("/spec/containers/1/name", "a"),
        ("/spec/containers/1/probe/httpGet", HTTP["httpGet"]),
    ]
    assert found.at("8")[0]["value"] == "8"
    assert found.at("8")[1:] == found.operations[1:]
    moved = copy.deepcopy(live)
    moved["spec"]["containers"].reverse()
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        patched(moved, found)


def test_the_rest_is_tried_with_the_node_as_it_is_and_shown_with_the_new_one() -> None:
    live = stored(pod(OTHER, PROBE), entry("setpoint-adopted", {"spec": pod(OTHER, PROBE)}))
    git = manifest(pod({**TCP, "image": "j"}, OTHER))
    found = exchange(live, git, Cause("spec.containers[0].probe.tcpSocket"))
    assert found.rest["spec"] == pod({**PROBE, "image": "j"}, OTHER)
    assert git["spec"] == pod({**TCP, "image": "j"}, OTHER)
    after = {**live, "spec": patched(live, found)}
    rest = {**live, "spec": pod({**PROBE, "image": "j"}, OTHER)}
    wanted = {"period": 5, "tcpSocket": {"port": 80}}
    assert found.predicted(rest, after)["spec"] == pod({**PROBE, "image": "j", "probe": wanted}, OTHER)


def test_lists_in_a_node_are_joined_by_key() -> None:
    live = {
        "n": {"old": {}, "list": [{"name": "a", "v": 1}, {"name": "z", "v": 9}], "set": ["x"], "args": [1]}
    }
    git = {"n": {"new": {}, "list": [{"name": "a", "v": 2}, {"name": "b"}, 3], "set": ["y"], "args": [2]}}
    known = entry("setpoint-adopted", {"spec": live})
    known["fieldsV1"]["f:spec"]["f:n"]["f:set"] = {'v:"x"': {}}
    found = exchange(stored(live, known), manifest(git), Cause("spec.n.new"))
    assert patched(stored(live, known), found) == {
        "n": {
            "new": {},
            "list": [{"name": "a", "v": 2}, {"name": "z", "v": 9}, {"name": "b"}, 3],
            "set": ["x"],
            "args": [2],
        }
    }


def of(*names: str) -> Json:
    return pod(*({"name": name, "probe": {"httpGet": {}}} for name in names))


@pytest.mark.parametrize(
    ("live", "git", "merged"),
    [
        ("ab", "ab", "ab"),
        ("ba", "ab", "ab"),
        ("xab", "ab", "xab"),
        ("bxa", "ab", "xab"),
        ("axb", "acb", "axcb"),
        ("ab", "cab", "cab"),
        ("x", "ab", "xab"),
    ],
)
def test_an_index_counts_in_the_list_that_the_server_merged(live: str, git: str, merged: str) -> None:
    known = stored(of(*live), entry("setpoint-adopted", {"spec": of(*live)}))
    wanted = manifest(pod(*({"name": n, "probe": {"tcpSocket": {}}} for n in git)))
    for index, name in enumerate(merged):
        found = verdict(known, wanted, [Cause(f"spec.containers[{index}].probe.tcpSocket")], None).exchange
        if name not in live or name not in git:
            assert found is None
            continue
        assert found is not None
        place = [c["name"] for c in known["spec"]["containers"]].index(name)
        assert f"/spec/containers/{place}/probe/httpGet" in [op["path"] for op in found.operations]


def test_an_element_that_git_drops_counts_no_more() -> None:
    live = of("gone", "a")
    known = stored(live, entry("setpoint", {"spec": live}, "Apply"))
    wanted = manifest(pod({"name": "a", "probe": {"tcpSocket": {}}}))
    found = exchange(known, wanted, Cause("spec.containers[0].probe.tcpSocket"))
    assert "/spec/containers/1/probe/httpGet" in [op["path"] for op in found.operations]


def test_fields_are_read_as_the_server_writes_them() -> None:
    assert tokens_of_field("spec.a[0].b[x.y/z]") == ("spec", "a", "0", "b", "x.y/z")


def test_a_patch_takes_away_no_more_than_anybody_writes() -> None:
    names = [f"n{i}" for i in range(2 * MOST)]
    live = stored(of(*names), entry("setpoint-adopted", {"spec": of(*names)}))
    wanted = manifest(pod(*({"name": n, "probe": {"tcpSocket": {}}} for n in names)))
    causes = [Cause(f"spec.containers[{i}].probe.tcpSocket", "x" * 5000) for i in range(2 * MOST)]
    found = exchange(live, wanted, *causes[-MOST:])
    assert len(found.operations) == 1 + 4 * MOST
    after = {**live, "spec": patched(live, found)}
    assert found.predicted(live, after)["spec"] == after["spec"]
    assert verdict(live, wanted, causes, None).exchange is None


def test_what_a_patch_left_is_found_and_taken_out() -> None:
    ours = {**entry("setpoint", {"spec": {"s": 1}}, "Apply"), "time": "t"}
    left = entry("setpoint", {"metadata": {"finalizers": {}}, "spec": {"s": 1}})
    assert managed_fields.without_strays([ours]) == []
    assert managed_fields.strays([ours, left]) == [left]
    assert managed_fields.ownership([ours, left]) != managed_fields.ownership([ours])
    obj = {"metadata": {"managedFields": [ours, left]}}
    after = jsonpatch.apply_patch(obj, managed_fields.without_strays([ours, left]))["metadata"][
        "managedFields"
    ]
    assert after == [ours, {**left, "fieldsV1": trie({"metadata": {"finalizers": {}}})}]
    whole = entry("setpoint", {"spec": {"s": 1}})
    scaled = {**whole, "subresource": "scale"}
    older = {**whole, "apiVersion": "old/v1"}
    obj = {"metadata": {"managedFields": [whole, ours, scaled, older]}}
    patch = managed_fields.without_strays([whole, ours, scaled, older])
    assert jsonpatch.apply_patch(obj, patch)["metadata"]["managedFields"] == [ours]


def test_what_lies_inside_of_a_node_of_git_is_given_up_at_adoption() -> None:
    theirs: Json = {
        "f:metadata": {"f:labels": {".": {}, "f:a": {}, "f:theirs": {}}},
        "f:data": {".": {}, "f:a": {}},
        "f:spec": {
            "f:limit": {},
            "f:security": {".": {}, "f:user": {}, "f:group": {}},
            "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
            "f:containers": {'k:{"name":"a"}': {".": {}, "f:pull": {}}, 'k:{"name":"z"}': {".": {}}},
        },
    }
    ours: Json = {
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:data": {"f:a": {}},
        "f:spec": {
            "f:security": {"f:user": {}},
            "f:strategy": {"f:type": {}},
            "f:containers": {'k:{"name":"a"}': {".": {}, "f:image": {}}},
        },
    }
    person = {"manager": "kubectl-create", "operation": "Update", "apiVersion": "v1", "fieldsV1": theirs}
    after = managed_fields.adopted([person], ours, frozenset())
    assert after is not None
    assert after[0]["fieldsV1"] == {
        "f:metadata": {"f:labels": {"f:theirs": {}}},
        "f:spec": {
            "f:limit": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
            "f:containers": {'k:{"name":"z"}': {".": {}}},
        },
    }


def test_nothing_is_taken_away_that_somebody_may_own_under_the_names_of_another_version() -> None:
    wanted = manifest({"s": {"type": "Recreate"}})
    other = {**entry("controller", {"spec": {"strategyOfOld": {}}}), "apiVersion": "v1beta1"}
    marks = {**entry("controller", {"metadata": {"labels": {"a": "b"}}}), "apiVersion": "v1beta1"}
    causes = [Cause("spec.s.rollingUpdate")]
    assert verdict(stored({"s": STRATEGY}, other), wanted, causes, None).exchange is None
    assert verdict(stored({"s": STRATEGY}, marks), wanted, causes, None).exchange is not None


def test_a_refusal_with_ever_so_many_causes_is_left_to_a_person() -> None:
    causes = [Cause("spec.s.rollingUpdate", str(number)) for number in range(MOST + 1)]
    live, wanted = stored({"s": STRATEGY}), manifest({"s": {"type": "Recreate"}})
    assert verdict(live, wanted, causes, None).exchange is None
    assert verdict(live, wanted, causes[:-1], None).exchange is not None
