"""Placing, ordering and claiming objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from setpoint.api import names
from setpoint.api.formats import seconds, short
from setpoint.api.reasons import Problem, Reason
from setpoint.objects.identity import (
    ObjectId,
    SyncKey,
    digest,
    identity,
    owner_annotation,
    owner_of,
    sync_label,
)
from setpoint.objects.kinds import Kind
from setpoint.plan import order
from setpoint.plan.desired import Desired, OwnershipMarks, Rendered, as_stored, complete
from setpoint.plan.redact import shown
from setpoint.plan.served import unserved
from setpoint.store.claims import Claims

STAMP = OwnershipMarks(SyncKey("team", "web"), "0123456789abcdef")
KINDS = {
    ("v1", "ConfigMap"): Kind("", "v1", "ConfigMap", "configmaps", True, frozenset()),
    ("v1", "Namespace"): Kind("", "v1", "Namespace", "namespaces", False, frozenset()),
}


def doc(kind: str, name: str = "a", namespace: str | None = None, api: str = "v1", **more: Any) -> Rendered:
    meta: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    return Rendered({"apiVersion": api, "kind": kind, "metadata": meta, **more}, f"{name}.yaml:1")


def place(*docs: Rendered, target: str | None = None) -> tuple[list[Desired], list[tuple[ObjectId, Problem]]]:
    return complete(docs, lambda a, k: KINDS.get((a, k)), target, STAMP)


def test_namespaces_are_filled_dropped_or_missed() -> None:
    good, bad = place(
        doc("ConfigMap"), doc("ConfigMap", "b", "own"), doc("Namespace", "n", "odd"), target="prod"
    )
    assert [d.id.namespace for d in good] == ["prod", "own", ""]
    assert "namespace" not in good[2].manifest["metadata"]
    assert not bad
    _, bad = place(doc("ConfigMap"))
    assert bad[0][1].reason is Reason.NamespaceMissing
    assert "a.yaml:1" in bad[0][1].message


def test_every_object_names_itself_and_its_sync() -> None:
    good, _ = place(doc("ConfigMap", namespace="prod"))
    meta = good[0].manifest["metadata"]
    assert meta["labels"][names.LABEL_SYNC] == STAMP.label
    assert owner_of(meta["annotations"], good[0].id) == STAMP.key
    assert owner_of(meta["annotations"], ObjectId("", "ConfigMap", "prod", "copy")) is None


def test_an_unknown_kind_is_a_problem_unless_its_crd_is_here() -> None:
    _, bad = place(doc("Widget", namespace="x", api="example.org/v1"))
    assert bad[0][1].reason is Reason.KindUnknown
    crd = doc(
        "CustomResourceDefinition",
        "widgets.example.org",
        api="apiextensions.k8s.io/v1",
        spec={"group": "example.org", "scope": "Cluster", "names": {"kind": "Widget"}},
    )
    good, bad = place(crd, doc("Widget", namespace="x", api="example.org/v1"))
    assert [d.id for d in good if d.id.kind == "Widget"] == [ObjectId("example.org", "Widget", "", "a")]
    assert [i.kind for i, _ in bad] == ["CustomResourceDefinition"]


def test_two_documents_with_one_identity() -> None:
    _, bad = place(doc("ConfigMap", namespace="x"), doc("ConfigMap"), target="x")
    assert "already defined" in bad[0][1].message


STATUS = {"phase": "Active"}


def test_what_the_api_server_owns_is_left_out_and_noted() -> None:
    server = {"uid": "u-1", "resourceVersion": "7", "creationTimestamp": None}
    exported = doc("Namespace", "n", status=STATUS)
    exported.manifest["metadata"].update(server)
    good, _ = place(exported, doc("Namespace", "m", status={"conditions": []}))
    assert good[0].unsent == ("metadata.resourceVersion", "metadata.uid", "status")
    assert good[1].unsent == ()
    assert all("status" not in d.manifest for d in good)
    assert good[0].manifest["metadata"].keys() == {"name", "labels", "annotations"}
    plain, _ = place(doc("Namespace", "n"))
    assert good[0].digest == plain[0].digest


@pytest.mark.parametrize(("parts", "sent"), [({"status": {}}, False), ({}, True), (None, True), ("x", True)])
def test_a_crd_of_the_commit_says_whether_status_is_a_subresource(parts: Any, sent: bool) -> None:
    versions = [{"name": "v1", "subresources": parts}, "x"]
    spec = {"group": "example.org", "scope": "Namespaced", "names": {"kind": "Widget"}, "versions": versions}
    crd = doc("CustomResourceDefinition", "widgets", api="apiextensions.k8s.io/v1", spec=spec)
    good, _ = place(crd, doc("Widget", api="example.org/v1", namespace="x", status=STATUS))
    widget = next(d for d in good if d.id.kind == "Widget")
    assert ("status" in widget.manifest) is sent
    assert (widget.unsent == ()) is sent


def desired(
    kind: str, api: str, name: str = "a", namespace: str = "n", wave: str | None = None, **more: Any
) -> Desired:
    manifest = doc(kind, name, namespace, api, **more).manifest
    if wave:
        manifest["metadata"]["annotations"] = {names.ANNOTATION_WAVE: wave}
    return Desired(identity(manifest), manifest, digest(manifest), "x", None)


def test_the_order_of_writing_and_of_deletion() -> None:
    objects = [
        desired("ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1", namespace=""),
        desired("Deployment", "apps/v1", wave="1"),
        desired("Deployment", "apps/v1", "b"),
        desired("ConfigMap", "v1"),
        desired("Widget", "example.org/v1"),
        desired("ServiceAccount", "v1"),
        desired("CustomResourceDefinition", "apiextensions.k8s.io/v1", namespace=""),
        desired("Namespace", "v1", namespace=""),
    ]
    kinds = [[d.id.kind for d in s.objects] for s in order.stages(objects)]
    assert kinds == [
        ["Namespace"],
        ["CustomResourceDefinition"],
        ["ServiceAccount"],
        ["ConfigMap"],
        ["Deployment", "Widget"],
        ["Deployment"],
        ["ValidatingWebhookConfiguration"],
    ]
    steps = [sorted({o.kind for o in step}) for step in order.deletion_steps(d.id for d in objects)]
    assert steps == [
        ["ValidatingWebhookConfiguration"],
        ["Widget"],
        ["ConfigMap", "Deployment"],
        ["CustomResourceDefinition"],
        ["ServiceAccount"],
        ["Namespace"],
    ]


@pytest.mark.parametrize(
    ("kind", "spec", "named"),
    [
        ("Pod", {"serviceAccountName": "a", "priorityClassName": "b", "runtimeClassName": "c"}, "abc"),
        ("Pod", {"serviceAccountName": 1}, ""),
        ("Pod", None, ""),
        ("ConfigMap", {"serviceAccountName": "a"}, ""),
    ],
)
def test_a_pod_comes_after_what_it_must_not_be_without(kind: str, spec: Any, named: str) -> None:
    ids = order.admitted_after(desired(kind, "v1", spec=spec))
    assert "".join(sorted(oid.name for oid in ids)) == named
    assert {oid.namespace for oid in ids if oid.kind == "ServiceAccount"} <= {"n"}


def test_what_serves_a_webhook() -> None:
    service = desired("Service", "v1", "hook", spec={"selector": {"app": "hook"}})
    server = desired(
        "Deployment",
        "apps/v1",
        "hook",
        spec={"template": {"metadata": {"labels": {"app": "hook", "v": "1"}}}},
    )
    other = desired(
        "Deployment", "apps/v1", "other", spec={"template": {"metadata": {"labels": {"app": "other"}}}}
    )
    hook = {"webhooks": [{"clientConfig": {"service": {"namespace": "n", "name": "hook"}}}]}
    assert order.servers_of(hook, [service, server, other]) == (server.id,)
    assert order.servers_of({"webhooks": [{"clientConfig": {"url": "https://x"}}]}, [service, server]) == ()


def test_a_kind_of_a_group_whose_server_is_away_is_told_apart() -> None:
    things = [doc("Widget", api="away.example.org/v1"), doc("Widget", "b", api="none.example.org/v1")]
    _, bad = complete(things, lambda a, k: None, "prod", STAMP, broken={"away.example.org"})
    assert [p.reason for _, p in bad] == [Reason.KindUnknown] * 2
    away, none = (p.message for _, p in bad)
    assert "the server of API group away.example.org does not answer" in away
    assert "install its CRD" in none


SERVED = (
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, frozenset()),
    Kind("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, frozenset()),
    Kind("apps", "v1", "Deployment", "deployments", True, frozenset()),
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", True, frozenset()),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False, frozenset()),
    Kind("bugs.example.org", "v1", "Gadget", "gadgets", True, frozenset()),
    Kind("other.example.org", "v1", "Thing", "things", True, frozenset()),
)


@pytest.mark.parametrize(
    ("api", "kind", "words"),
    [
        (
            "autoscaling/v2beta2",
            "HorizontalPodAutoscaler",
            "HorizontalPodAutoscaler is served as autoscaling/v2, autoscaling/v1; v2beta2 was removed in 1.26",
        ),
        (
            "extensions/v1beta1",
            "Deployment",
            "Deployment is served as apps/v1; extensions/v1beta1 was removed in 1.16",
        ),
        (
            "extensions/v1beta1",
            "Ingress",
            "Ingress is served as networking.k8s.io/v1; extensions/v1beta1 was removed in 1.22",
        ),
        (
            "rbac.authorization.k8s.io/v1beta1",
            "ClusterRole",
            "ClusterRole is served as rbac.authorization.k8s.io/v1; v1beta1 was removed in 1.22",
        ),
        (
            "policy/v1beta1",
            "PodSecurityPolicy",
            "PodSecurityPolicy of policy/v1beta1 was removed in 1.25, and nothing takes its place",
        ),
        (
            "bugs.example.org/v1alpha1",
            "Gadget",
            "Gadget is served as bugs.example.org/v1, and not as v1alpha1",
        ),
        (
            "new.example.org/v1",
            "Thing",
            "the cluster has no kind Thing in new.example.org/v1; install its CRD first",
        ),
        (
            "apps/v1",
            "Deploymnet",
            "the cluster has no kind Deploymnet in apps/v1; correct apiVersion or kind, no CRD brings this group",
        ),
    ],
)
def test_a_version_that_is_not_served_names_those_that_are(api: str, kind: str, words: str) -> None:
    def served(name: str) -> list[Kind]:
        return [k for k in SERVED if k.kind == name]

    _, bad = complete([doc(kind, api=api)], lambda a, k: None, "prod", STAMP, served=served)
    ((oid, problem),) = bad
    assert (problem.reason, problem.message) == (Reason.KindUnknown, f"a.yaml:1: {words}")
    assert oid.namespace == ("" if kind == "ClusterRole" else "prod")


@pytest.mark.parametrize(
    ("api", "words"),
    [
        ("bugs.example.org/v1alpha1", "Gadget is served as bugs.example.org/v1, and not as v1alpha1"),
        (
            "bugs.example.org/v1",
            "the cluster does not serve Gadget in bugs.example.org/v1 any more, or not yet again",
        ),
        (
            "none.example.org/v1",
            "the cluster has no kind Gadget in none.example.org/v1; install its CRD first",
        ),
    ],
)
def test_a_kind_that_the_api_server_refuses_though_discovery_has_it(api: str, words: str) -> None:
    known = [*SERVED]
    if api.endswith("alpha1"):
        known.append(Kind("bugs.example.org", "v1alpha1", "Gadget", "gadgets", True, frozenset()))
    assert unserved(api, "Gadget", lambda name: [k for k in known if k.kind == name]) == words


@pytest.mark.parametrize("served", [True, False], ids=["still served", "not served"])
def test_a_version_that_the_crd_of_this_commit_does_not_serve(served: bool) -> None:
    versions = [{"name": "v1", "served": True}, {"name": "v1alpha1", "served": False}]
    spec = {
        "group": "bugs.example.org",
        "scope": "Namespaced",
        "names": {"kind": "Gadget"},
        "versions": versions,
    }
    crd = doc("CustomResourceDefinition", "gadgets", api="apiextensions.k8s.io/v1", spec=spec)
    docs = [
        crd,
        doc("Gadget", "old", api="bugs.example.org/v1alpha1"),
        doc("Gadget", "new", api="bugs.example.org/v1"),
    ]
    kinds = {
        "CustomResourceDefinition": Kind(
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "x", False, frozenset()
        )
    }
    if served:  # until the CRD of this commit is written
        kinds["Gadget"] = Kind("bugs.example.org", "v1alpha1", "Gadget", "gadgets", True, frozenset())
    good, bad = complete(docs, lambda a, k: kinds.get(k), "prod", STAMP)
    assert [d.id.name for d in good] == ["gadgets", "new"]
    ((_, problem),) = bad
    assert problem.message == "old.yaml:1: Gadget is served as bugs.example.org/v1, and not as v1alpha1"


def test_claims_are_handed_over() -> None:
    claims = Claims()
    a, b = SyncKey("n", "a"), SyncKey("n", "b")
    x = ObjectId("", "ConfigMap", "n", "x")
    assert claims.record(a, [x]) == set()
    assert claims.contested(b, [x]) == {x: a}
    assert claims.want(b, [x]) == {a}
    assert claims.wanted_of(a, [x]) == {x: b}
    assert claims.record(a, []) == {b}
    assert claims.contested(b, [x]) == {}
    claims.record(b, [x])
    claims.want(b, [])
    assert claims.owner(x) == b
    assert claims.drop(b) == set()
    assert claims.owner(x) is None


def test_what_is_lent_is_free_for_others_and_comes_back_if_nobody_takes_it() -> None:
    claims = Claims()
    a, b, c = (SyncKey("n", name) for name in "abc")
    x, y = (ObjectId("", "ConfigMap", "n", name) for name in "xy")
    claims.record(a, [x, y])
    claims.want(b, [x])
    assert claims.record(a, [x, y], lent=[x]) == {b}
    assert (claims.owner(x), claims.owner(y), claims.lent(a)) == (None, a, frozenset({x}))
    assert (claims.is_lent(x), claims.is_lent(y)) == (True, False)
    assert claims.contested(b, [x, y]) == {y: a}
    assert (claims.offered(b, [x, y]), claims.offered(a, [x, y])) == ({x}, set())
    # The other wants it until it has it: at no moment does it look as if nobody did.
    assert claims.want(b, claims.offered(b, [x, y])) == set()
    assert claims.wanted_of(a, [x, y]) == {x: b}
    assert claims.record(b, [x]) == set()
    assert claims.offered(b, [x, y]) == {x}, "it may not be stored yet"
    assert claims.want(b, []) == {a}  # which looks, and sees that it is owned
    assert claims.wanted_of(a, [x, y]) == {x: b}
    # Whoever took it lets go without having written it: who lent it is told.
    assert claims.record(b, []) == {a}
    assert claims.wanted_of(a, [x, y]) == {}
    claims.want(c, [x])
    assert claims.wanted_of(a, [x, y]) == {x: c}
    assert claims.drop(c) == {a}
    claims.record(a, [y])
    assert claims.lent(a) == set()
    assert claims.want(c, [x]) == claims.want(c, []) == set()


def test_an_object_in_two_stored_inventories_is_owned_by_one_after_the_other() -> None:
    claims = Claims()
    a, b = SyncKey("n", "a"), SyncKey("n", "b")
    x = ObjectId("", "ConfigMap", "n", "x")
    # A crash came while it moved from a to b: both have it in their inventory, and a is read first.
    claims.record(a, [x])
    claims.record(b, [x])
    claims.want(b, claims.contested(b, [x]))
    assert claims.record(a, [x], lent=claims.wanted_of(a, [x])) == {b}
    claims.want(b, claims.offered(b, [x]))
    claims.record(b, [x])
    claims.want(b, [])
    assert (claims.owner(x), claims.wanted_of(a, [x])) == (b, {x: b})


def test_an_heir_that_cannot_be_evaluated_is_lent_what_it_has() -> None:
    """After a crash while x moved from a to b, and with b's Git server away: nobody hears b wish for it."""
    claims = Claims()
    a, b, c = (SyncKey("n", name) for name in "abc")
    x = ObjectId("", "ConfigMap", "n", "x")
    claims.record(a, [x])
    claims.record(b, [x])
    assert claims.wanted_of(a, [x]) == {x: b}
    claims.want(c, [x])
    assert claims.wanted_of(a, [x]) == {x: b}
    claims.record(b, [])
    assert claims.wanted_of(a, [x]) == {x: c}


def test_what_two_inventories_hold_goes_to_the_other_before_a_third_that_waits() -> None:
    claims = Claims()
    a, b, c = (SyncKey("n", name) for name in "abc")
    x = ObjectId("", "ConfigMap", "n", "x")
    # b took x over; before a had said so, the operator ended: both have it stored, and a is read first.
    claims.record(a, [x])
    claims.record(b, [x])
    claims.want(c, claims.contested(c, [x]))
    assert claims.owner(x) == a
    # b may not even have been looked at yet: that it has x is reason enough.
    assert claims.record(a, []) == {b, c}
    assert (claims.owner(x), claims.contested(c, [x])) == (b, {x: b})
    assert claims.record(b, []) == {c}
    assert claims.owner(x) is None
    claims.record(c, [x])
    assert claims.owner(x) == c


def test_what_is_lent_goes_to_whom_it_is_stored_for_and_nobody_inherits_what_it_let_go_of() -> None:
    claims = Claims()
    a, b, c, d = (SyncKey("n", name) for name in "abcd")
    x = ObjectId("", "ConfigMap", "n", "x")
    for key in (a, b, c, d):
        claims.record(key, [x])
    claims.record(b, [])
    claims.drop(c)
    assert claims.record(a, [x], lent=[x]) == {d}
    assert (claims.owner(x), claims.wanted_of(a, [x])) == (d, {x: d})
    assert claims.record(d, []) == {a}, "who lent it has it in its inventory, and owns it no more for that"
    assert claims.owner(x) is None


SYNCS = [SyncKey("n", name) for name in "abc"]
THINGS = [ObjectId("", "ConfigMap", "n", name) for name in "xy"]
STORED, LENT = st.sets(st.sampled_from(THINGS)), st.sets(st.sampled_from(THINGS), max_size=1)
STEPS = st.tuples(st.sampled_from(SYNCS), STORED, LENT)


@given(st.lists(STEPS, min_size=6, max_size=12))
def test_whoever_has_an_object_stored_and_not_lent_owns_it_before_anybody_else_does(
    steps: list[tuple[SyncKey, set[ObjectId], set[ObjectId]]],
) -> None:
    claims, holds = Claims(), dict[SyncKey, set[ObjectId]]()
    for key, stored, lent in steps:
        before = {x: claims.owner(x) for x in THINGS}
        claims.record(key, stored, lent & stored)
        holds[key] = stored - lent
        for x in THINGS:
            holders: set[SyncKey | None] = {k for k, held in holds.items() if x in held}
            assert claims.owner(x) in (holders or {None})
            assert before[x] not in holders or claims.owner(x) == before[x], (
                "it changes its owner for nothing"
            )


class Watched(frozenset[ObjectId]):
    """Objects that count how often one of them is looked at."""

    looks = 0

    def __iter__(self) -> Iterator[ObjectId]:
        for oid in super().__iter__():
            self.looks += 1
            yield oid

    def __contains__(self, oid: object) -> bool:
        self.looks += 1
        return super().__contains__(oid)


def test_who_waits_is_found_without_a_look_at_each_object() -> None:
    claims = Claims()
    a, b, c = (SyncKey("n", name) for name in "abc")
    many = [ObjectId("", "ConfigMap", "n", f"x{i}") for i in range(100)]
    mine = Watched(many)
    claims.record(a, many)
    assert (claims.awaited(a, mine), mine.looks) == ({}, 0)
    claims.want(c, many[:1])
    claims.want(b, [*many[:2], ObjectId("", "ConfigMap", "n", "other")])
    claims.want(a, many[2:3])
    assert (claims.awaited(a, mine), mine.looks) == ({many[0]: b, many[1]: b}, 4)
    assert claims.awaited(a, many[1:3]) == {many[1]: b}
    for each in (b, c):
        claims.drop(each)
    assert claims.awaited(a, mine) == {}


def test_identity() -> None:
    key = SyncKey("team", "web")
    assert len(sync_label("uid", key)) == 16
    assert sync_label("uid", key) != sync_label("other", key)
    assert owner_annotation(key, ObjectId("", "Namespace", "", "n")) == "team/web core/Namespace/-/n"


def test_secret_values_are_hashed_and_metadata_is_shown() -> None:
    patch: list[dict[str, Any]] = [
        {"op": "replace", "path": "/data/p", "value": "aHVudGVyMg=="},
        {"op": "add", "path": "/data", "value": {"q": "c2VjcmV0"}},
        {"op": "replace", "path": "/metadata/labels/x", "value": "y"},
    ]
    secret = ObjectId("", "Secret", "n", "s")
    text = repr(shown(patch, secret, b"key"))
    assert "aHVudGVyMg" not in text
    assert "c2VjcmV0" not in text
    assert "'y'" in text
    assert shown(patch, secret, b"key") == shown(patch, secret, b"key") != shown(patch, secret, b"other")
    assert shown(patch, ObjectId("", "ConfigMap", "n", "s"), b"key")[0] == patch[0]
    assert (
        shown([{"op": "add", "path": "/x", "value": "a" * 9999}], ObjectId("", "ConfigMap", "", ""), b"")[0][
            "value"
        ]
        == "(10001 characters)"
    )


@pytest.mark.parametrize(("text", "value"), [("1m", 60.0), ("1h30m", 5400.0), ("500ms", 0.5), ("1.5s", 1.5)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "m", "1x", "-1s"])
def test_what_is_no_duration_is_said(text: str) -> None:
    with pytest.raises(Problem, match="not a duration"):
        seconds(text)


def test_short_revisions() -> None:
    assert short("main@sha1:1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d") == "main@1a2b3c4"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"stringData": {"a": "correct-horse"}}, {"data": {"a": "Y29ycmVjdC1ob3JzZQ=="}}),
        (
            {"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "z"}},
            {"data": {"a": "eg==", "b": "eQ=="}},
        ),
        ({"data": None, "stringData": {"a": "ü"}}, {"data": {"a": "w7w="}}),
        ({"stringData": {}}, {"data": {}}),
        # What the server would refuse reaches it as it is, so that its words are about what stands in Git.
        ({"stringData": {"pin": 7, "a": "x"}}, {"stringData": {"pin": 7, "a": "x"}}),
        ({"stringData": "x"}, {"stringData": "x"}),
        ({"data": "x", "stringData": {"a": "x"}}, {"data": "x", "stringData": {"a": "x"}}),
        ({"data": {"a": "eA=="}}, {"data": {"a": "eA=="}}),
    ],
)
def test_a_secret_is_sent_as_it_is_stored(given: dict[str, Any], stored: dict[str, Any]) -> None:
    base = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    assert as_stored({**base, **given}) == {**base, **stored}
    other = {**base, **given, "kind": "Other"}
    assert as_stored(other) is other


def test_what_is_taken_over_stays_wanted_while_the_claim_cannot_be_written() -> None:
    claims, lender, taker = Claims(), SyncKey("team", "lender"), SyncKey("team", "taker")
    thing = ObjectId("", "ConfigMap", "app", "thing")
    claims.record(lender, [thing], lent=[thing])
    for _ in range(2):  # each try claims it, fails to store that, and fails to say so
        claims.want(taker, claims.offered(taker, [thing]))
        claims.record(taker, [thing])
    claims.record(taker, [])  # it is said at last that nothing was stored
    assert claims.wanted_of(lender, [thing]) == {thing: taker}
