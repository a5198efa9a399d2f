"""Who is named as the user of an object: one and the same as long as it is one."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from setpoint.objects.identity import ObjectId
from setpoint.watch.users import NamespaceUsers, UserIndex, by_namespace, tell

A, B = ("ConfigMap", "a"), ("ConfigMap", "b")


def pod(name: str, *maps: str, **status: Any) -> dict[str, Any]:
    volumes = [{"name": f"v-{m}", "configMap": {"name": m}} for m in maps]
    meta = {"name": name, "namespace": "n", "uid": f"u-{name}"}
    return {"metadata": meta, "spec": {"volumes": volumes}, "status": status}


def index(*pods: dict[str, Any]) -> UserIndex:
    made = UserIndex("Pod", {A, B})
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


def test_what_is_asked_while_a_list_is_read_is_asked_of_that_list_too() -> None:
    """Else the list that is read for the question could be read without it, and what is used would go."""
    before = UserIndex("Pod")
    after = UserIndex("Pod", before.about)
    before.about |= {A}
    after.take(pod("m", "a"))
    assert named(after) == "m"


class Read:
    """A list that says when it is read, and whose watch is refused as soon as it was."""

    def __init__(self, name: str, order: list[str], *users: dict[str, Any]) -> None:
        self.index, self.forbidden = UserIndex("Pod"), False
        self._name, self._order, self._users = name, order, users

    async def anew(self) -> bool:
        self._order.append(f"{self._name} begins")
        await asyncio.sleep(0)
        for each in self._users:
            self.index.take(each)
        self.forbidden = True
        self._order.append(f"{self._name} ends")
        return True

    def follow(self) -> None:
        raise AssertionError("nobody asked to watch")


def test_pods_are_read_after_what_makes_them_and_a_list_counts_if_its_watch_is_refused() -> None:
    async def ask() -> dict[ObjectId, ObjectId]:
        pods = Read("pods", order, pod("m", "b"))
        users = NamespaceUsers(cast("Any", None), "n", pods, lambda _: None)
        await users.close()
        users._wants = wants = cast("Any", (Read("sets", order, pod("r", "a")), Read("jobs", order)))
        users._readers = (*wants, pods)
        return await users.of({ObjectId("", "ConfigMap", "n", name): None for name in ("a", "b", "c")})

    order: list[str] = []
    found = asyncio.run(ask())
    assert {o.name: user.name for o, user in found.items()} == {"a": "r", "b": "m"}
    assert order == ["sets begins", "jobs begins", "sets ends", "jobs ends", "pods begins", "pods ends"]
