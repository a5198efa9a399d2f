"""How many questions it takes to find out what an identity may write."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import pytest

from setpoint.api.reasons import Reason
from setpoint.apply.rights import AT_ONCE, forbidden, writable
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind
from setpoint.plan.desired import Phase, Ref

MAPS = [ObjectId("", "ConfigMap", "shop", f"c{i}") for i in range(50)]
SECRETS = [ObjectId("", "Secret", "shop", f"s{i}") for i in range(50)]
ROLES = [ObjectId("rbac.authorization.k8s.io", "ClusterRole", "", f"r{i}") for i in range(50)]
REVIEW, RULES = "SelfSubjectAccessReview", "SelfSubjectRulesReview"


def rule(group: str, resource: str, *names: str, verb: str = "patch") -> Mapping[str, Any]:
    found = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
    return {**found, "resourceNames": list(names)} if names else found


class Authorizer:
    """A cluster that knows the rules of one user, as far as it tells them."""

    def __init__(self, *rules: Mapping[str, Any], incomplete: bool = False, broken: bool = False) -> None:
        self.rules, self.incomplete, self.broken = rules, incomplete, broken
        self.asked: Counter[str] = Counter()
        self.at_once = self.most = 0

    def kind_of_group(self, group: str, kind: str) -> Kind | None:
        known = kind in ("ConfigMap", "Secret", "ClusterRole")
        return Kind(group, "v1", kind, f"{kind.lower()}s", True, frozenset()) if known else None

    def kind(self, _version: str, kind: str) -> Kind:
        return Kind("authorization.k8s.io", "v1", kind, f"{kind.lower()}s", False, frozenset())

    async def create(self, kind: Kind, body: Mapping[str, Any], *, user: str) -> Mapping[str, Any]:
        assert user == "u"
        self.asked[kind.kind] += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.broken:
            raise ApiError(500, "InternalError", "down")
        if kind.kind == RULES:
            assert body["spec"]["namespace"]
            return {"status": {"resourceRules": list(self.rules), "incomplete": self.incomplete}}
        return {"status": {"allowed": any(map(self._allows(body["spec"]["resourceAttributes"]), self.rules))}}

    @staticmethod
    def _allows(asked: Mapping[str, str]) -> Any:
        def allows(rule: Mapping[str, Any]) -> bool:
            names = rule.get("resourceNames")
            return (
                {"*", asked["verb"]} & set(rule["verbs"]) != set()
                and {"*", asked["group"]} & set(rule["apiGroups"]) != set()
                and {"*", asked["resource"]} & set(rule["resources"]) != set()
                and (not names or asked.get("name") in names)
            )

        return allows

    async def of(self, *objects: ObjectId) -> frozenset[ObjectId]:
        return await writable(cast("Cluster", self), "u", objects)


async def test_who_may_write_a_kind_is_asked_once() -> None:
    world = Authorizer(rule("*", "*", verb="*"))
    assert await world.of(*MAPS, *SECRETS) == {*MAPS, *SECRETS}
    assert world.asked == {REVIEW: 2}


async def test_who_may_write_nothing_is_not_asked_object_by_object() -> None:
    world = Authorizer(rule("", "configmaps", verb="get"))
    assert await world.of(*MAPS, *SECRETS, *ROLES) == frozenset()
    assert world.asked == {REVIEW: 3, RULES: 2}  # a kind each; a namespace, and the whole cluster


@pytest.mark.parametrize("verb", ["patch", "*"])
async def test_objects_that_a_role_names_are_asked_for_by_their_names(verb: str) -> None:
    world = Authorizer(
        rule("", "configmaps", "c1", "c2", "other", verb=verb), rule("", "secrets", "s1", verb="get")
    )
    assert await world.of(*MAPS, *SECRETS) == {MAPS[1], MAPS[2]}
    assert world.asked == {REVIEW: 2 + 2, RULES: 1}


async def test_where_another_authorizer_decides_too_each_is_asked_for_a_few_at_once() -> None:
    world = Authorizer(rule("", "configmaps", "c1"), incomplete=True)
    assert await world.of(*MAPS) == {MAPS[1]}
    assert world.asked == {REVIEW: 1 + len(MAPS), RULES: 1}
    assert world.most == AT_ONCE


async def test_what_nobody_says_counts_as_writable() -> None:
    unknown = ObjectId("example.org", "Widget", "shop", "w")
    assert await Authorizer().of(unknown) == {unknown}
    assert await Authorizer(broken=True).of(*MAPS, unknown) == {*MAPS, unknown}


class Server:
    """Answers patches by the name of the object; keeps what it was asked."""

    def __init__(self, **answers: ApiError) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def kind(self, version: str, kind: str) -> Kind | None:
        return self.kind_of_group("", kind) if version == "v1" else None

    def kind_of_group(self, group: str, kind: str) -> Kind | None:
        known = kind == "ConfigMap"
        return Kind(group, "v1", kind, "configmaps", True, frozenset()) if known else None

    async def patch(self, kind: Kind, namespace: str, name: str, operations: Any, **how: Any) -> None:
        self.asked.append((kind.kind, namespace, name, tuple(operations), how))
        if name in self.answers:
            raise self.answers[name]


async def test_only_what_is_forbidden_is_refused_whatever_else_goes_wrong() -> None:
    no = ApiError(
        403,
        "Forbidden",
        'User "u" cannot patch resource "configmaps" in API group "" in the namespace "shop"',
    )
    denied = ApiError(403, "Forbidden", 'admission webhook "w" denied the request')
    server = Server(no=no, denied=denied, down=ApiError(503, "ServiceUnavailable", "down"))
    names = ("no", "denied", "down", "fine", "old", "gone")
    stage = (Phase.WAVES, 0, 0)

    def ref(name: str) -> Ref:
        kind, version = ("Gone" if name == "gone" else "ConfigMap"), ("v0" if name == "old" else "v1")
        return Ref(ObjectId("", kind, "shop", name), version, "d", f"{name}.yaml:1", stage)

    found = await forbidden(cast("Cluster", server), "u", map(ref, names))
    refused = {oid.name: p for oid, p in found.items() if p is not None}
    assert len(found) == len(names)
    assert refused.keys() == {"no", "down"}
    assert refused["down"].reason is Reason.ApiUnavailable, "nobody says"
    assert refused["no"].reason is Reason.Forbidden
    assert (
        refused["no"].message
        == "no.yaml:1: ConfigMap/shop/no: user u may not patch configmaps in namespace shop"
    )
    how = {"user": "u", "dry_run": True}
    asked = [("ConfigMap", "shop", name, (), how) for name in names if name != "gone"]
    assert server.asked == asked, "a version that is not served must not pass for a right"
