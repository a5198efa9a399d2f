"""Ignored paths: what is carried from the live object, from which element of a list, and what people may add."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import IgnoreRule
from setpoint.objects import managed_fields
from setpoint.objects.bodies import sync_model
from setpoint.objects.identity import identity
from setpoint.plan.desired import Desired
from setpoint.plan.diff import foreign_additions
from setpoint.plan.ignore.paths import fitting, tree_of
from setpoint.plan.ignore.rules import Carried, is_ignored, with_ignored

Json = dict[str, Any]
KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "webhooks": ("name",),
    "modes": ("name", "mode"),
}
"""Keys of lists, by the field that holds the list; all others are atomic."""
DEFAULTS = {"protocol": "TCP", "mode": "Slow"}


def filled(node: Any) -> Any:
    """The node with the defaults of keys, as a server stores it."""
    if isinstance(node, list):
        return [filled(n) for n in node]
    if not isinstance(node, dict):
        return node
    made = {k: filled(v) for k, v in node.items()}
    for name, keys in KEYS.items():
        for element in made[name] if isinstance(made.get(name), list) else ():
            element.update({k: DEFAULTS[k] for k in keys if k in DEFAULTS and k not in element})
    return made


def trie(node: Any, field: str = "") -> Json:
    """The fieldsV1 of all that a node sets."""
    if isinstance(node, dict):
        return {f"f:{k}": trie(v, k) for k, v in node.items()}
    if isinstance(node, list) and field in KEYS:
        keys = [json.dumps({k: e[k] for k in KEYS[field]}, separators=(",", ":")) for e in node]
        return {f"k:{k}": {".": {}, **trie(e)} for k, e in zip(keys, node, strict=True)}
    return {}


def stored(spec: Json, manager: str = names.FIELD_MANAGER, version: str = "apps/v1") -> Json:
    """An object as a server has it, all of it written by one manager."""
    full = filled(spec)
    operation = "Apply" if manager == names.FIELD_MANAGER else "Update"
    entry = {"manager": manager, "operation": operation, "apiVersion": version}
    meta = {
        "name": "web",
        "namespace": "team",
        "managedFields": [{**entry, "fieldsV1": {"f:spec": trie(full)}}],
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": full}


def manifest(spec: Json) -> Json:
    meta = {"name": "web", "namespace": "team"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def carried(git: Json, live: Json, *paths: str, predicted: Json | None = None) -> Carried:
    m = manifest(git)
    return with_ignored(m, live, [IgnoreRule(paths=paths)], identity(m), predicted)


def settled(git: Json, live: Json, *paths: str) -> Carried:
    """As the dry run does it: where the live object does not tell enough, the server's prediction is asked."""
    made = carried(git, live, *paths)
    return carried(git, live, *paths, predicted=stored(git)) if made.doubts else made


def images(*pairs: tuple[str, str]) -> Json:
    return {"containers": [{"name": name, "image": image} for name, image in pairs]}


IMAGE = "/spec/containers/0/image"


@pytest.mark.parametrize(
    ("git", "live", "paths", "wanted"),
    [
        pytest.param(
            images(("proxy", "proxy:5"), ("app", "app:1")),
            images(("app", "app:2")),
            [IMAGE],
            images(("proxy", "proxy:5"), ("app", "app:1")),
            id="an element put in front has no live one, so it has Git's value",
        ),
        pytest.param(
            images(("proxy", "proxy:5"), ("app", "app:1")),
            images(("app", "app:2")),
            ["/spec/containers/1/image"],
            images(("proxy", "proxy:5"), ("app", "app:2")),
            id="the index is one in Git's manifest, and the live element stands elsewhere",
        ),
        pytest.param(
            images(("proxy", "proxy:5"), ("app", "app:1")),
            images(("app", "app:2")),
            ["/spec/containers/[name=app]/image"],
            images(("proxy", "proxy:5"), ("app", "app:2")),
            id="a path names the key",
        ),
        pytest.param(
            images(("app", "app:1")),
            images(("proxy", "proxy:9"), ("app", "app:2")),
            [IMAGE],
            images(("app", "app:2")),
            id="an element that left Git before it does not move the index",
        ),
        pytest.param(
            images(("proxy", "proxy:5")),
            images(("proxy", "proxy:4"), ("app", "app:2")),
            ["/spec/containers/[name=app]/image", "/spec/containers/1/image"],
            images(("proxy", "proxy:5")),
            id="an element that left Git is not made again",
        ),
        pytest.param(
            images(("proxy", "proxy:5")),
            images(("app", "app:2")),
            ["/spec/containers/0"],
            images(("proxy", "proxy:5")),
            id="a whole element has no live one",
        ),
        pytest.param(
            images(("app", "app:1")),
            {"containers": [{"name": "x"}, {"name": "app", "image": "app:2", "tty": True}]},
            ["/spec/containers/0"],
            {"containers": [{"name": "app", "image": "app:2", "tty": True}]},
            id="a whole element is carried",
        ),
        pytest.param(
            images(("app", "app:1")),
            images(("app", "app:2")),
            ["/spec/containers/0/name"],
            images(("app", "app:1")),
            id="a key is what it is",
        ),
        pytest.param(
            images(("app", "app:1")),
            {"containers": [{"name": "app"}]},
            [IMAGE],
            {"containers": [{"name": "app"}]},
            id="what somebody removed from the element stays removed",
        ),
        pytest.param(
            {"containers": [{"name": "app"}]},
            images(("app", "app:2")),
            [IMAGE],
            images(("app", "app:2")),
            id="what Git leaves out is sent, so that it is not given up",
        ),
        pytest.param(
            {
                "containers": [
                    {"name": "app", "env": [{"name": "B", "value": "b"}, {"name": "A", "value": "a"}]}
                ]
            },
            {
                "containers": [
                    {"name": "app", "env": [{"name": "A", "value": "live"}, {"name": "B", "value": "x"}]}
                ]
            },
            ["/spec/containers/0/env/[name=A]/value"],
            {
                "containers": [
                    {"name": "app", "env": [{"name": "B", "value": "b"}, {"name": "A", "value": "live"}]}
                ]
            },
            id="env by name, in another order",
        ),
        pytest.param(
            {"containers": [{"name": "app", "env": [{"name": "A", "value": "a"}]}]},
            {"containers": [{"name": "app", "env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]}]},
            ["/spec/containers/[name=app]/env/0/value", "/spec/containers/[name=app]/env/0/valueFrom"],
            {"containers": [{"name": "app", "env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]}]},
            id="a value that became a reference",
        ),
        pytest.param(
            {
                "ports": [
                    {"containerPort": 53, "name": "t"},
                    {"containerPort": 53, "protocol": "UDP", "name": "u"},
                ]
            },
            {
                "ports": [
                    {"containerPort": 53, "protocol": "UDP", "name": "udp"},
                    {"containerPort": 53, "protocol": "TCP", "name": "tcp"},
                ]
            },
            ["/spec/ports/0/name"],
            {
                "ports": [
                    {"containerPort": 53, "name": "tcp"},
                    {"containerPort": 53, "protocol": "UDP", "name": "u"},
                ]
            },
            id="a port has two keys, and the protocol's default",
        ),
        pytest.param(
            {"ports": [{"containerPort": 53, "name": "t"}]},
            {"ports": [{"containerPort": 53, "protocol": "UDP", "name": "udp"}]},
            ["/spec/ports/0/name"],
            {"ports": [{"containerPort": 53, "name": "t"}]},
            id="a port of another protocol is another port",
        ),
        pytest.param(
            {
                "ports": [
                    {"containerPort": 53, "name": "t"},
                    {"containerPort": 53, "protocol": "UDP", "name": "u"},
                ]
            },
            {
                "ports": [
                    {"containerPort": 53, "name": "a"},
                    {"containerPort": 53, "protocol": "UDP", "name": "b"},
                ]
            },
            ["/spec/ports/[containerPort=53,protocol=TCP]/name"],
            {
                "ports": [
                    {"containerPort": 53, "name": "a"},
                    {"containerPort": 53, "protocol": "UDP", "name": "u"},
                ]
            },
            id="a path names both keys, one of which Git leaves to the default",
        ),
        pytest.param(
            {
                "ports": [
                    {"containerPort": 53, "name": "t"},
                    {"containerPort": 53, "protocol": "UDP", "name": "u"},
                ]
            },
            {
                "ports": [
                    {"containerPort": 53, "name": "a"},
                    {"containerPort": 53, "protocol": "UDP", "name": "b"},
                ]
            },
            ["/spec/ports/[containerPort=53]/name"],
            {
                "ports": [
                    {"containerPort": 53, "name": "a"},
                    {"containerPort": 53, "protocol": "UDP", "name": "b"},
                ]
            },
            id="a path that names one of two keys means all that have it",
        ),
        pytest.param(
            {
                "webhooks": [
                    {"name": "new", "clientConfig": {}},
                    {"name": "old", "clientConfig": {"url": "u"}},
                ]
            },
            {"webhooks": [{"name": "old", "clientConfig": {"url": "u", "caBundle": "CA"}}]},
            ["/spec/webhooks/0/clientConfig/caBundle", "/spec/webhooks/1/clientConfig/caBundle"],
            {
                "webhooks": [
                    {"name": "new", "clientConfig": {}},
                    {"name": "old", "clientConfig": {"url": "u", "caBundle": "CA"}},
                ]
            },
            id="webhooks",
        ),
        pytest.param(
            {"resources": {"limits": {"cpu": "1"}}},
            {"resources": {}},
            ["/spec/resources/limits/cpu"],
            {"resources": {"limits": {"cpu": "1"}}},
            id="where the parent is not live, it is made as Git says",
        ),
        pytest.param(
            {"resources": {}},
            {"resources": {"limits": {"cpu": "2"}}},
            ["/spec/resources/limits/cpu"],
            {"resources": {}},
            id="where the parent left Git, nothing is sent",
        ),
        pytest.param(
            {"containers": []},
            images(("app", "app:2")),
            [IMAGE, "/spec/containers/-/image", "/spec/containers/[name=app]/image"],
            {"containers": []},
            id="an empty list",
        ),
        pytest.param(
            images(("app", "app:1")),
            images(("app", "app:2")),
            ["/spec/containers/00/image", "/spec/containers/²/image", "/spec/containers/9/image"],
            images(("app", "app:1")),
            id="what is no index in Git's list is nothing",
        ),
        pytest.param(
            images(("app", "app:1")), {}, [IMAGE], images(("app", "app:1")), id="the list is not live"
        ),
        pytest.param(
            images(("app", "app:1")),
            {"containers": "text"},
            [IMAGE],
            images(("app", "app:1")),
            id="the list is something else",
        ),
        pytest.param(
            {"containers": ["text", {"name": "app", "image": "app:1"}]},
            images(("app", "app:2")),
            [IMAGE, "/spec/containers/1/image"],
            {"containers": ["text", {"name": "app", "image": "app:2"}]},
            id="what is no element of its list is for the server to refuse",
        ),
    ],
)
def test_what_is_carried_comes_from_the_element_with_the_same_key(
    git: Json, live: Json, paths: Sequence[str], wanted: Json
) -> None:
    before = copy.deepcopy(git)
    made = settled(git, stored(live), *paths)
    assert made.manifest["spec"] == wanted
    assert git == before


ARGS = "/spec/args/0"
RULE = "/spec/rules/0/verb"


@pytest.mark.parametrize(
    ("git", "live", "path", "wanted", "doubt"),
    [
        pytest.param(
            {"args": ["a", "b"]}, {"args": ["x", "b"]}, ARGS, {"args": ["x", "b"]}, "", id="only that"
        ),
        pytest.param(
            {"args": ["new", "a"]},
            {"args": ["x"]},
            ARGS,
            {"args": ["new", "a"]},
            "whole list",
            id="one in front",
        ),
        pytest.param(
            {"args": ["a", "b"]},
            {"args": ["x", "c"]},
            ARGS,
            {"args": ["a", "b"]},
            "whole list",
            id="another differs",
        ),
        pytest.param({"args": ["a"]}, {"args": []}, ARGS, {"args": ["a"]}, "", id="nothing is live"),
        pytest.param(
            {"rules": [{"verb": "get", "on": "a"}]},
            {"rules": [{"verb": "list", "on": "a"}]},
            RULE,
            {"rules": [{"verb": "list", "on": "a"}]},
            "",
            id="a field of an element",
        ),
        pytest.param(
            {"rules": [{"verb": "get", "on": "b"}, {"verb": "get", "on": "a"}]},
            {"rules": [{"verb": "list", "on": "a"}]},
            RULE,
            {"rules": [{"verb": "get", "on": "b"}, {"verb": "get", "on": "a"}]},
            "/spec/rules/0/verb is ignored, but its list has no keys",
            id="an element in front",
        ),
        pytest.param(
            {"rules": [{"verb": "get", "on": "b"}, {"verb": "get", "on": "a"}]},
            {"rules": [{"verb": "list", "on": "a"}]},
            "/spec/rules/[on=a]/verb",
            {"rules": [{"verb": "get", "on": "b"}, {"verb": "list", "on": "a"}]},
            "",
            id="named by a field of its own",
        ),
        pytest.param(
            {"rules": [{"verb": "get", "on": "a"}, {"verb": "put", "on": "a"}]},
            {"rules": [{"verb": "list", "on": "a"}]},
            "/spec/rules/[on=a]/verb",
            {"rules": [{"verb": "get", "on": "a"}, {"verb": "put", "on": "a"}]},
            "several elements",
            id="named by what several have",
        ),
        pytest.param(
            {"rules": [{"on": "b"}]},
            {"rules": [{"verb": "list", "on": "a"}]},
            "/spec/rules/[on=b]/verb",
            {"rules": [{"on": "b"}]},
            "",
            id="named, and not live",
        ),
        pytest.param(
            {"modes": [{"name": "x", "size": 1}]},
            {"modes": [{"name": "x", "mode": "Fast", "size": 9}]},
            "/spec/modes/0/size",
            {"modes": [{"name": "x", "size": 1}]},
            "",
            id="a key that the server fills in makes it another element",
        ),
        pytest.param(
            {"modes": [{"name": "x", "size": 1}]},
            {"modes": [{"name": "x", "mode": "Fast", "size": 9}, {"name": "x", "size": 5}]},
            "/spec/modes/[mode=Slow]/size",
            {"modes": [{"name": "x", "size": 5}]},
            "",
            id="a key that the server fills in is found out",
        ),
        pytest.param(
            {"modes": [{"name": "x", "size": 1}, {"name": "x", "mode": "Fast", "size": 1}]},
            {"modes": [{"name": "x", "mode": "Fast", "size": 9}, {"name": "x", "size": 5}]},
            "/spec/modes/0/size",
            {"modes": [{"name": "x", "size": 5}, {"name": "x", "mode": "Fast", "size": 1}]},
            "",
            id="a key that the server fills in is none that Git spells out",
        ),
    ],
)
def test_where_nobody_can_tell_which_element_is_meant_git_is_right(
    git: Json, live: Json, path: str, wanted: Json, doubt: str
) -> None:
    made = settled(git, stored(live), path)
    assert made.manifest["spec"] == wanted
    assert [doubt in d for d in made.doubts] == ([True] if doubt else [])


def test_two_ignored_elements_of_a_list_without_keys_are_looked_at_together() -> None:
    git, live = {"args": ["a", "b", "c"]}, {"args": ["x", "y", "c"]}
    assert settled(git, stored(live), "/spec/args/0", "/spec/args/1").manifest["spec"] == live


def test_defaults_in_a_list_without_keys_are_no_difference() -> None:
    git = {"rules": [{"verb": "get"}, {"verb": "put"}]}
    live = stored({"rules": [{"verb": "list", "scope": "*"}, {"verb": "put", "scope": "*"}]})
    first = carried(git, live, RULE)
    assert (first.manifest["spec"], len(first.doubts)) == (git, 1)
    predicted = stored({"rules": [{**rule, "scope": "*"} for rule in git["rules"]]})
    again = carried(git, live, RULE, predicted=predicted)
    assert again == Carried(manifest({"rules": [{"verb": "list"}, {"verb": "put"}]}))


@pytest.mark.parametrize(
    "managed", [[], [{"manager": "x", "apiVersion": "apps/v0", "fieldsV1": {"f:spec": {}}}]]
)
def test_keys_that_the_live_object_does_not_tell_at_this_version_are_those_of_the_prediction(
    managed: Any,
) -> None:
    git = images(("proxy", "proxy:5"), ("app", "app:1"))
    live = stored(images(("app", "app:2")))
    live["metadata"]["managedFields"] = managed
    first = carried(git, live, "/spec/containers/1/image")
    assert (first.manifest["spec"], len(first.doubts)) == (git, 1)
    again = carried(git, live, "/spec/containers/1/image", predicted=stored(git))
    assert again == Carried(manifest(images(("proxy", "proxy:5"), ("app", "app:2"))))


NAMES = st.sampled_from(["app", "proxy", "a]b", "c/d", 'e"f', "1", "x,y"])
LISTS = st.lists(
    st.tuples(NAMES, st.sampled_from(["1", "2", "3"])), unique_by=lambda pair: pair[0], max_size=5
)


def by_name(containers: Sequence[Json]) -> Json:
    return {c["name"]: c for c in containers}


def selector(name: str) -> str:
    """The token that names an element, whatever is in its name."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'[name="{quoted}"]'.replace("~", "~0").replace("/", "~1")


@given(LISTS, LISTS, st.randoms(use_true_random=False))
def test_the_order_of_a_list_with_keys_never_changes_what_is_carried(
    git: list[tuple[str, str]], live: list[tuple[str, str]], random: Any
) -> None:
    there, chosen = stored(images(*live)), [name for name, _ in git if random.random() < 0.7]
    other = random.sample(git, len(git))
    found = []
    for pairs in (git, other):
        for paths in (
            [f"/spec/containers/{[n for n, _ in pairs].index(name)}/image" for name in chosen],
            [f"/spec/containers/{selector(name)}/image" for name in chosen],
        ):
            made = settled(images(*pairs), there, *paths) if paths else Carried(manifest(images(*pairs)))
            assert [c["name"] for c in made.manifest["spec"]["containers"]] == [n for n, _ in pairs]
            found.append(by_name(made.manifest["spec"]["containers"]))
    theirs = dict(live)
    wanted = {n: {"name": n, "image": theirs.get(n, image) if n in chosen else image} for n, image in git}
    assert found == [wanted] * 4


# --- what people add


def added(git: Json, live: Json, theirs: Json, *paths: str) -> list[str]:
    """The paths of what a person added to an object of ours."""
    obj = stored(live)
    ours, person = trie(filled(git)), trie(filled(theirs))
    apply, update = obj["metadata"]["managedFields"][0], {"manager": "kubectl-edit", "operation": "Update"}
    obj["metadata"]["managedFields"] = [
        {**apply, "fieldsV1": {"f:spec": ours}},
        {**update, "apiVersion": "apps/v1", "fieldsV1": {"f:spec": person}},
    ]
    m = manifest(git)
    d = Desired(identity(m), m, "", "app.yaml:1", None)
    found = foreign_additions(obj, d, [IgnoreRule(paths=paths)], frozenset())
    return [managed_fields.pointer(path) for path, _ in found]


GIT = {"containers": [{"name": "proxy"}, {"name": "app"}]}
LIVE = {"containers": [{"name": "app", "image": "x"}, {"name": "proxy", "image": "y"}, {"name": "extra"}]}
BOTH = {"containers": [{"name": "app", "image": "x"}, {"name": "proxy", "image": "y"}]}


@pytest.mark.parametrize(
    ("theirs", "paths", "wanted"),
    [
        (BOTH, ["/spec/containers/0/image"], ["/spec/containers/0/image"]),
        (BOTH, ["/spec/containers/[name=app]/image"], ["/spec/containers/1/image"]),
        (BOTH, ["/spec/containers"], []),
        (BOTH, ["/spec/containers/0/tty"], ["/spec/containers/0/image", "/spec/containers/1/image"]),
        ({"containers": [{"name": "extra"}]}, ["/spec/containers/2"], ["/spec/containers/2"]),
        ({"containers": [{"name": "extra"}]}, ["/spec/containers/[name=extra]"], []),
        (
            {"containers": [{"name": "extra"}]},
            ["/spec/containers/[name=extra]/image"],
            ["/spec/containers/2"],
        ),
    ],
)
def test_an_index_counts_in_gits_list_for_what_people_add_too(
    theirs: Json, paths: list[str], wanted: list[str]
) -> None:
    assert added(GIT, LIVE, theirs, *paths) == wanted


def test_what_people_add_to_an_element_is_found_by_its_whole_key() -> None:
    git = {"modes": [{"name": "x"}, {"name": "x", "mode": "Fast"}]}
    live = {"modes": [{"name": "x", "mode": "Fast", "size": 1}, {"name": "x", "mode": "Slow", "size": 1}]}
    assert added(git, live, live, "/spec/modes/0/size") == ["/spec/modes/0/size"]
    assert added(git, live, live, "/spec/modes/1/size") == ["/spec/modes/1/size"]


def test_an_addition_to_a_list_without_keys_is_ignored_as_a_whole_or_not_at_all() -> None:
    assert added({}, {"args": ["x"]}, {"args": ["x"]}, "/spec/args") == []
    assert added({}, {"args": ["x"]}, {"args": ["x"]}, "/spec/args/0") == ["/spec/args"]


def test_an_element_of_a_set_is_git_s_if_git_has_it() -> None:
    tree, git = tree_of(["/spec/set/0"]), {"spec": {"set": ["a"]}}
    path = (managed_fields.Step("spec"), managed_fields.Step("set"), managed_fields.Step("1"))
    assert is_ignored(path, tree, git, {"spec": {"set": ["b", "a"]}})
    assert not is_ignored(path, tree, git, {"spec": {"set": ["a", "b"]}})


# --- the form of a path


@pytest.mark.parametrize(
    ("path", "element"),
    [
        ("/spec/[name=app]", {"name": "app"}),
        ("/spec/[name=c~1d~0e]", {"name": "c/d~e"}),
        ('/spec/[name="a]b,c=\\"d\\\\"]', {"name": 'a]b,c="d\\'}),
        ("/spec/[port=80,protocol=TCP]", {"port": 80, "protocol": "TCP", "more": []}),
        ("/spec/[port=80]", {"port": "80"}),
        ("/spec/[on=true]", {"on": True}),
        ("/spec/[on=null]", {"on": None}),
        ("/spec/[a~1b=c]", {"a/b": "c"}),
    ],
)
def test_a_path_names_an_element_by_values_of_its_fields(path: str, element: Json) -> None:
    (token,) = tree_of(IgnoreRule(paths=(path,)).paths)["spec"]
    assert fitting(token, element)
    assert not fitting(token, {**element, next(iter(element)): "else"})
    assert not fitting(token, {})


@pytest.mark.parametrize(
    ("path", "element"), [('/x/[port="80"]', {"port": 80}), ("/x/[a=b]", "text"), ("/x/[a=b]", {"a": ["b"]})]
)
def test_what_a_selector_does_not_fit(path: str, element: Any) -> None:
    (token,) = tree_of(IgnoreRule(paths=(path,)).paths)["x"]
    assert not fitting(token, element)


@pytest.mark.parametrize(
    "path", ["/", "/spec/replicas", "/a~1b/~0/0/-", "/data/x[0]", '/[a=b]/[c=d,e="]"]', "//a"]
)
def test_a_path_that_may_be_written(path: str) -> None:
    assert IgnoreRule(paths=(path,)).paths == (path,)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "spec",
        "/a~2",
        "/spec/[name=app",
        "/spec/[name]",
        "/spec/[=a]",
        "/spec/[a=]",
        "/spec/[a=b]c",
        "/[a=b,]",
        '/[a=b="]',
        "/[]",
        "/[name=a]b]",
        '/[name="a]',
        '/[name="a\\b"]',
    ],
)
def test_a_bad_path_is_an_invalid_spec_that_names_it(path: str) -> None:
    rule = {"paths": ["/spec/replicas", path]}
    head = {
        "apiVersion": "setpoint.dev/v1alpha1",
        "kind": "Sync",
        "metadata": {"namespace": "team", "name": "app"},
    }
    with pytest.raises(Problem) as caught:
        sync_model({**head, "spec": {"source": {"name": "src"}, "ignore": [rule]}})
    assert caught.value.reason is Reason.InvalidSpec
    assert "spec.ignore.0.paths.1" in caught.value.message
    assert repr(path) in caught.value.message


@pytest.mark.parametrize("token", ["[name=k1]", "[value=git]", "1"])
def test_long_lists_hold_nobody_up(token: str) -> None:
    """Where each element was looked for by going through the list this took minutes; it ends, or the test does not."""

    def spec(value: str) -> Json:
        return {"env": [{"name": f"k{n}", "value": value} for n in range(20_000)]}

    rule = IgnoreRule.model_validate(
        {"target": {"kind": "Deployment"}, "paths": [f"/spec/env/{token}/value"]}
    )
    meta = {"name": "web"}
    git: Json = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec("git")}
    made = with_ignored(git, stored(spec("live")), [rule], identity(git))
    values = [element["value"] for element in made.manifest["spec"]["env"]]
    assert values.count("live") == (20_000 if token == "[value=git]" else 1)
    assert values[1] == "live"
