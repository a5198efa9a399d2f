"""Who is named as the user of an object: one and the same as long as it is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

from tests.kit.virtualtime import run

from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId
from setpoint.plan.prune import Users
from setpoint.watch.follower import REFUSED_SECONDS
from setpoint.watch.users import NamespaceUsers, by_namespace
from setpoint.watch.wants import MOST_HASHES, StatefulSetInformer, UserIndex, WantInformer, tell

WEB = ObjectId("apps", "Deployment", "n", "web")
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
        self.refused = self.denied = False
        self._name, self._order, self._users = name, order, users

    async def anew(self) -> bool:
        if self.refused:
            return False
        self._order.append(f"{self._name} begins")
        await asyncio.sleep(0)
        for each in self._users:
            self.index.take(each)
        self.forbidden = True
        self._order.append(f"{self._name} ends")
        return True

    def follow(self) -> None:
        raise AssertionError("nobody asked to watch")


class Answering:
    """Answers each list with the next status, and 0 with an empty list."""

    def __init__(self, answers: list[int], *objects: dict[str, Any], revisions: Any = ()) -> None:
        self._answers, self._objects, self._revisions = answers, list(objects), revisions
        self.selectors: list[str] = []

    def kind(self, api_version: str, kind: str) -> str:
        return f"{api_version}/{kind}"

    async def pages(self, _: Any) -> AsyncGenerator[tuple[list[dict[str, Any]], str]]:
        if status := self._answers.pop(0):
            raise ApiError(status, "No", "no")
        yield self._objects, "1"

    async def list(self, _: Any, *, namespace: str, label_selector: str) -> tuple[Any, str]:
        self.selectors.append(label_selector)
        return self._revisions, "1"


async def asking(*lists: Read) -> NamespaceUsers:
    """Return who asks these lists instead of the cluster's; the last is that of the pods."""
    *wants, pods = lists
    users = NamespaceUsers(cast("Any", None), "n", pods, lambda _: None)
    await users.close()
    users._wants, users._readers = cast("Any", tuple(wants)), lists
    return users


def maps(*names: str) -> dict[ObjectId, ObjectId | None]:
    return {ObjectId("", "ConfigMap", "n", name): None for name in names}


def test_pods_are_read_after_what_makes_them_and_a_list_counts_if_its_watch_is_refused() -> None:
    async def ask() -> Users:
        lists = (Read("sets", order, pod("r", "a")), Read("jobs", order), Read("pods", order, pod("m", "b")))
        return await (await asking(*lists)).of(maps("a", "b", "c"))

    order: list[str] = []
    users = asyncio.run(ask())
    assert {o.name: user.name for o, user in users.found.items()} == {"a": "r", "b": "m"}
    assert users.unknown == frozenset()
    assert order == ["sets begins", "jobs begins", "sets ends", "jobs ends", "pods begins", "pods ends"]


def test_a_refusal_tells_nothing_before_it_has_lasted() -> None:
    async def ask() -> list[Users]:
        sets, pods = Read("sets", []), Read("pods", [], pod("m", "b"))
        users, said = await asking(sets, pods), []
        for sets.refused, sets.denied in ((True, False), (True, True), (False, False)):
            said.append(await users.of({**maps("a", "b"), own: WEB}))
        return said

    (a, b), (own,) = maps("a", "b"), maps("own")
    passing, lasting, over = asyncio.run(ask())
    assert (set(passing.found), set(passing.unknown)) == ({b, own}, {a})
    assert (lasting.found[own], lasting.unknown) == (WEB, frozenset())
    assert (set(over.found), over.unknown) == ({b}, frozenset())


def test_a_list_is_denied_when_it_was_refused_for_a_while_without_a_break() -> None:
    async def ask() -> list[bool]:
        clock, answers, said = asyncio.get_running_loop().time, [403, 403, 0, 403, 404, 404], list[bool]()
        informer = WantInformer(cast("Any", Answering(answers)), ("batch/v1", "Job"), "n", lambda _: None)
        began = clock()
        while answers:
            said.append(await informer.anew() or informer.denied)
            await asyncio.sleep(REFUSED_SECONDS / 2 + 0.1)
        assert clock() > began
        await informer.close()
        return said

    # Read once, it is as good as new.
    assert run(ask()) == [False, False, True, False, False, True]


# --- StatefulSets


def stateful(name: str, current: str, update: str, *maps: str) -> dict[str, Any]:
    status = {"currentRevision": current, "updateRevision": update}
    return {**pod(name), "spec": {"template": pod(name, *maps)}, "status": status}


def revision(name: str, *maps: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {"spec": {"template": pod(name, *maps)}}}


def of_sets(cluster: Answering, *about: tuple[str, str]) -> dict[str, str | None]:
    async def ask() -> dict[str, str | None]:
        informer = StatefulSetInformer(cast("Any", cluster), "n", lambda _: None)
        informer.index.about |= set(about)
        assert await informer.anew()
        await informer.close()
        return {name[1]: named(informer.index, name) for name in about}

    return run(ask())


def test_a_stateful_set_uses_what_its_former_revision_names_too() -> None:
    sets = [stateful("half", "half-1", "half-2", "b"), stateful("done", "done-1", "done-1")]
    cluster = Answering([0], *sets, revisions=[revision("half-1", "a"), revision("other-1", "c")])
    c = ("ConfigMap", "c")
    assert of_sets(cluster, A, B, c) == {"a": "half", "b": "half", "c": None}
    assert cluster.selectors == ["controller.kubernetes.io/hash in (1)"]
    # One whose revision nobody finds may use anything.
    assert of_sets(Answering([0], *sets), A, c) == {"a": "half", "c": "half"}
    # Where all are as they should be no revision is read.
    cluster = Answering([0], sets[1])
    assert (of_sets(cluster, A), cluster.selectors) == ({"a": None}, [])


def test_what_stands_in_a_status_is_no_selector() -> None:
    cluster = Answering([0], stateful("x", "x-1),a notin (b", "x-2"))
    assert of_sets(cluster, A) == {"a": "x"}
    assert cluster.selectors == []
    many = [stateful(f"s{i}", f"s-{i}", "s-x") for i in range(MOST_HASHES + 1)]
    cluster = Answering([0], *many)
    of_sets(cluster, A)
    assert [s.count(",") for s in cluster.selectors] == [MOST_HASHES - 1, 0]


def test_a_stateful_set_lets_go_when_its_update_is_complete() -> None:
    async def ask() -> list[str]:
        gone: list[str] = []
        cluster = Answering([0], stateful("s", "s-1", "s-2"), revisions=[revision("s-1", "a")])
        informer = StatefulSetInformer(cast("Any", cluster), "n", lambda oid: gone.append(oid.name))
        informer.index.about |= {A}
        await informer.anew()
        assert named(informer.index) == "s"
        informer._event("MODIFIED", stateful("s", "s-1", "s-3"))
        assert (named(informer.index), gone) == ("s", [])
        informer._event("MODIFIED", stateful("s", "s-3", "s-3"))
        await informer.close()
        return gone

    assert run(ask()) == ["a"]
