"""What differs is named in paths that a rule of `spec.ignore` takes, and that then hold."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.api.sync import IgnoreRule
from setpoint.objects.managed_fields import Step
from setpoint.plan.ignore import naming
from setpoint.plan.ignore.paths import fitting

CONTAINER: Any = {'k:{"name":"a"}': {".": {}, "f:image": {}}, 'k:{"name":"b"}': {".": {}, "f:image": {}}}
PORTS: Any = {'k:{"port":53,"protocol":"UDP"}': {".": {}}}


def boxes(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"spec": {"boxes": [{"name": name, "image": image} for name, image in pairs]}}


CASES: list[Any] = [
    pytest.param({"data": {"k": "1"}}, {"data": {"k": "2"}}, {}, ["/data/k"], id="a field"),
    pytest.param(
        {"data": {"a/b~c": "1"}}, {"data": {}}, {}, ["/data/a~1b~0c"], id="a field that is too much"
    ),
    pytest.param({}, {"spec": {"deep": {"x": 1}}}, {}, ["/spec"], id="a parent that is gone"),
    pytest.param(
        {"metadata": {}},
        {"metadata": {"annotations": {"a": "1", "b": "2"}}},
        {},
        ["/metadata/annotations/a", "/metadata/annotations/b"],
        id="annotations that are gone, one by one",
    ),
    pytest.param(
        boxes(("b", "1"), ("a", "1")),
        boxes(("a", "1"), ("b", "2")),
        {"f:spec": {"f:boxes": CONTAINER}},
        ["/spec/boxes/[name=b]/image"],
        id="an element by its key",
    ),
    pytest.param(
        boxes(("b", "1"), ("a", "1")),
        boxes(("a", "1"), ("b", "1")),
        {"f:spec": {"f:boxes": CONTAINER}},
        ["/spec/boxes"],
        id="the order of elements",
    ),
    pytest.param(
        boxes(("a", "1")),
        boxes(("a", "1"), ("b", "1")),
        {"f:spec": {"f:boxes": CONTAINER}},
        ["/spec/boxes"],
        id="an element that only Git has, so a rule about it would not hold",
    ),
    pytest.param(
        boxes(("a", "1"), ("b", "1")),
        boxes(("a", "1")),
        {"f:spec": {"f:boxes": CONTAINER}},
        ["/spec/boxes/[name=b]"],
        id="an element that only the live object has",
    ),
    pytest.param({"args": ["a", "b"]}, {"args": ["a"]}, {}, ["/args"], id="a list without keys"),
    pytest.param(
        {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 1}]},
        {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 2}]},
        {"f:ports": PORTS},
        ["/ports/[port=53,protocol=UDP]/nodePort"],
        id="two keys",
    ),
]


@pytest.mark.parametrize(("live", "wanted", "trie", "found"), CASES)
def test_differences_are_named(live: Any, wanted: Any, trie: Any, found: list[str]) -> None:
    assert list(naming.differing(live, wanted, trie)) == found
    IgnoreRule(paths=tuple(found))


@pytest.mark.parametrize(
    ("key", "token"),
    [
        ({"name": "app"}, "[name=app]"),
        ({"name": 'a"],=\\b'}, '[name="a\\"],=\\\\b"]'),
        ({"name": ""}, '[name=""]'),
        ({"ip": "::1/128", "port": 80}, "[ip=::1/128,port=80]"),
    ],
)
def test_a_key_is_written_so_that_it_is_read_again(key: dict[str, Any], token: str) -> None:
    assert naming.selector(key) == token
    assert fitting(token, key)


def test_additions_are_named() -> None:
    port = Step("0", {"port": 53, "protocol": "UDP"})
    obj = {"spec": {"ports": [{"port": 53, "protocol": "UDP"}], "set": ["a"]}, "data": {"0": "x"}}
    assert naming.added((Step("spec"), Step("ports"), port), obj) == "/spec/ports/[port=53,protocol=UDP]"
    assert naming.added((Step("metadata"), Step("labels"), Step("a/b")), obj) == "/metadata/labels/a~1b"
    assert naming.added((Step("spec"), Step("set"), Step("0")), obj) == "/spec/set"
    assert naming.added((Step("data"), Step("0")), obj) == "/data/0"
