"""Who is named as the user of an object: one and the same as long as it is one."""

from __future__ import annotations

from typing import Any

from setpoint.objects.identity import ObjectId
from setpoint.watch.users import UserIndex, by_namespace, tell

A, B = ("ConfigMap", "a"), ("ConfigMap", "b")


def pod(name: str, *maps: str, **status: Any) -> dict[str, Any]:
    volumes = [{"name": f"v-{m}", "configMap": {"name": m}} for m in maps]
    meta = {"name": name, "namespace": "n", "uid": f"u-{name}"}
    return {"metadata": meta, "spec": {"volumes": volumes}, "status": status}


def index(*pods: dict[str, Any]) -> UserIndex:
    made = UserIndex("Pod", frozenset({A, B}))
    for each in pods:
        made.take(each)
    return made


def named(index: UserIndex, name: tuple[str, str] = A) -> str | None:
    user = index.user(name)
    return user.name if user else None


def test_a_user_that_was_named_is_named_until_it_goes() -> None:
    pods = index(pod("m", "a", "b", "other"))
    assert (named(pods), named(pods, B), pods.user(("ConfigMap", "other"))) == ("m", "m", None)
    assert pods.take(pod("c", "a")) == frozenset()
    assert named(pods) == "m"
    assert pods.take(pod("m", "b")) == {A}
    assert (named(pods), named(pods, B)) == ("c", "m")
    assert pods.take(pod("m", "a"), gone=True) == {B}
    assert pods.take(pod("c", "a", phase="Succeeded")) == {A}
    assert named(pods) is None


def test_who_was_not_named_goes_without_a_word() -> None:
    pods = index(pod("c", "a"), pod("m", "a"))
    assert named(pods) == "c"
    assert pods.take(pod("m", "a"), gone=True) == frozenset()


def test_a_new_list_keeps_who_was_named_and_tells_who_is_gone() -> None:
    before = index(pod("m", "a", "b"))
    assert (named(before), named(before, B)) == ("m", "m")
    after = index(pod("c", "a", "b"), pod("m", "b"))
    assert after.lost(before) == {A}
    assert (named(after), named(after, B)) == ("c", "m")
    assert index().lost(index(pod("m", "a"))) == frozenset()


def test_nothing_is_kept_of_what_nobody_asked_about() -> None:
    pods = UserIndex("Pod")
    pods.take(pod("m", "a"))
    assert pods.user(A) is None


def test_objects_by_namespace() -> None:
    found: list[ObjectId] = []
    tell(found.append, "n", [A, B])
    elsewhere = ObjectId("", "Secret", "m", "s")
    assert by_namespace([*found, elsewhere]) == {"n": found, "m": [elsewhere]}
    assert [o.name for o in found] == ["a", "b"]
