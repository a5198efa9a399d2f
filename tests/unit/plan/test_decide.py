"""The plan: what differs, whose it is, what is ignored, what may go."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api import names
from setpoint.api.reasons import Reason
from setpoint.api.sync import IgnoreRule
from setpoint.health.verdict import Health, Verdict
from setpoint.objects import managed_fields
from setpoint.objects.identity import ObjectId, SyncKey, digest, identity, owner_annotation
from setpoint.objects.observed import Observed, observe
from setpoint.objects.users.rollouts import Rollout
from setpoint.plan import decide as plan
from setpoint.plan.adoption import may_take
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired, OwnershipMarks, stamped
from setpoint.plan.diff import comparable, difference, foreign_additions, written_by_us
from setpoint.plan.ignore.rules import with_ignored
from setpoint.plan.prune import (
    REFUSED_USERS,
    UNKNOWN_USERS,
    Prune,
    PrunePolicy,
    Users,
    handed_over,
    in_question,
    prune,
    users_in_git,
    without_used,
)

ME, OTHER = SyncKey("team", "web"), SyncKey("team", "other")
STAMP = OwnershipMarks(ME, "0123456789abcdef")


def config(name: str = "a", data: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "team"},
        "data": {"k": "v"} if data is None else data,
    }


def desired(manifest: dict[str, Any]) -> Desired:
    oid = identity(manifest)
    full = stamped(manifest, oid, STAMP)
    return Desired(oid, full, digest(full), "a.yaml:1", None)


def live_of(d: Desired, **meta: Any) -> dict[str, Any]:
    obj = dict(copy.deepcopy(d.manifest))
    own = {
        "manager": names.FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": "v1",
        "fieldsV1": {"f:data": {"f:k": {}}},
    }
    obj["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": [own], **meta}
    return obj


def judge(d: Desired, live: dict[str, Any] | None, predicted: dict[str, Any]) -> Change:
    return plan.decide(d, live, predicted, ME, (), frozenset())


def test_absent_is_created_equal_is_kept_different_is_patched() -> None:
    d = desired(config())
    assert judge(d, None, live_of(d)).action is Action.CREATE
    assert (
        judge(d, live_of(d, generation=3), live_of(d, generation=4, resourceVersion="8")).action
        is Action.KEEP
    )
    edited = live_of(d)
    edited["data"] = {"k": "hand"}
    change = judge(d, edited, live_of(d))
    assert (change.action, change.patch) == (
        Action.PATCH,
        ({"op": "replace", "path": "/data/k", "value": "v"},),
    )


def test_what_persons_added_is_theirs_when_it_is_adopted_and_drift_when_it_is_handed_over() -> None:
    d = desired(config())
    live = live_of(d)
    live["data"]["extra"] = "1"
    live["metadata"]["annotations"][names.ANNOTATION_OWNER] = owner_annotation(OTHER, d.id)
    live["metadata"]["managedFields"].append(
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:extra": {}}}}
    )
    predicted = copy.deepcopy(live)
    predicted["metadata"]["annotations"] = d.manifest["metadata"]["annotations"]
    people = frozenset({"kubectl-edit"})
    adopted = plan.decide(d, live, predicted, ME, (), people)
    assert (adopted.action, adopted.additions) == (Action.ADOPT, ())
    handed = plan.decide(d, live, predicted, ME, (), people, handed=True)
    assert handed.action is Action.PATCH
    assert [managed_fields.pointer(path) for path, _ in handed.additions] == ["/data/extra"]


def test_the_attribution_stamp_is_never_a_difference() -> None:
    d = desired(config())
    stampy = live_of(d)
    stampy["metadata"]["annotations"] |= {
        names.ANNOTATION_CHANGED_BY: "alice",
        names.ANNOTATION_CHANGED_FROM: "3",
    }
    assert judge(d, stampy, live_of(d)).action is Action.KEEP


def test_the_culprit_is_the_manager_that_owns_what_differs() -> None:
    d = desired(config())
    edited = live_of(d)
    edited["data"] = {"k": "hand"}
    edited["metadata"]["managedFields"] += [
        {
            "manager": "kubectl-edit",
            "operation": "Update",
            "time": "2026-01-02T00:00:00Z",
            "fieldsV1": {"f:data": {"f:k": {}}},
        },
        {
            "manager": "noise",
            "operation": "Update",
            "time": "2026-01-03T00:00:00Z",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:z": {}}}},
        },
    ]
    assert judge(d, edited, live_of(d)).manager == "kubectl-edit"


def test_what_a_person_added_is_patched_away() -> None:
    d = desired(config())
    edited = live_of(d)
    edited["data"] = {"k": "v", "extra": "1"}
    edited["metadata"]["managedFields"].append(
        {
            "manager": "kubectl-patch",
            "operation": "Update",
            "time": "t",
            "fieldsV1": {"f:data": {"f:extra": {}}},
        }
    )
    change = judge(d, edited, copy.deepcopy(edited))
    assert (change.action, change.manager) == (Action.PATCH, "kubectl-patch")
    assert change.patch == ({"op": "remove", "path": "/data/extra"},)


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "time": "t", "fieldsV1": fields, **more}


@pytest.mark.parametrize("manager", ["setpoint", "setpoint-adopted"])
def test_who_writes_under_our_names_is_named_by_them_and_what_he_added_goes(manager: str) -> None:
    d = desired(config())
    edited = live_of(d)
    edited["data"] = {"k": "hand", "extra": "1"}
    fields: dict[str, Any] = {"f:data": {"f:k": {}, "f:extra": {}}}
    edited["metadata"]["managedFields"] = [entry(manager, fields)]
    predicted = live_of(d)
    predicted["data"] = {"k": "v", "extra": "1"}
    predicted["metadata"]["managedFields"].append(entry(manager, {"f:data": {"f:extra": {}}}))
    change = judge(d, edited, predicted)
    assert (change.action, change.manager, change.tidies) == (Action.PATCH, manager, False)
    assert [(op["op"], op["path"]) for op in change.patch] == [
        ("replace", "/data/k"),
        ("remove", "/data/extra"),
    ]
    assert [managed_fields.pointer(path) for path, _ in change.additions] == ["/data/extra"]


def test_what_was_there_before_adoption_stays_whoever_writes_beside_it() -> None:
    d = desired(config())
    edited = live_of(d)
    edited["data"] = {"k": "v", "old": "1", "extra": "1"}
    record = entry("setpoint-adopted", {"f:data": {"f:old": {}}}, "Apply")
    del record["time"]
    edited["metadata"]["managedFields"] += [record, entry("setpoint-adopted", {"f:data": {"f:extra": {}}})]
    change = judge(d, edited, copy.deepcopy(edited))
    assert [managed_fields.pointer(path) for path, _ in change.additions] == ["/data/extra"]
    edited["data"].pop("extra")
    edited["metadata"]["managedFields"].pop()
    assert judge(d, edited, copy.deepcopy(edited)).action is Action.KEEP


def test_what_a_patch_of_ours_left_is_tidied_and_no_drift() -> None:
    d = desired(config())
    left = live_of(d)
    left["metadata"]["managedFields"].append(entry("setpoint", {"f:data": {"f:k": {}}}))
    change = judge(d, left, copy.deepcopy(left))
    assert (change.action, change.tidies, change.patch) == (Action.PATCH, True, ())


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({}, None),
        (
            {
                "annotations": {
                    names.ANNOTATION_OWNER: owner_annotation(SyncKey("gone", "x"), identity(config()))
                }
            },
            None,
        ),
        ({"annotations": {names.ANNOTATION_OWNER: owner_annotation(OTHER, identity(config("copy")))}}, None),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, Reason.Foreign),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, Reason.Foreign),
        (
            {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {names.ANNOTATION_ADOPT: "true"},
            },
            None,
        ),
    ],
)
def test_whose_an_object_is(meta: dict[str, Any], reason: Reason | None) -> None:
    live = config()
    live["metadata"] |= meta
    refusal = may_take(live, desired(config()), ME, None)
    assert (refusal.reason if refusal else None) == reason


def test_a_claim_decides_not_the_annotation() -> None:
    live = config()
    live["metadata"]["annotations"] = {names.ANNOTATION_OWNER: owner_annotation(OTHER, identity(live))}
    refusal = may_take(live, desired(config()), ME, OTHER)
    assert refusal
    assert refusal.reason is Reason.Contested
    assert may_take(live, desired(config()), ME, ME) is None
    assert may_take(live, desired(config()), ME, None) is None


def test_an_ignored_path_is_sent_with_the_live_value_and_gits_on_create() -> None:
    d = desired({**config(), "spec": {"replicas": 2, "list": [{"a": 1, "b": 2}]}})
    rules = [IgnoreRule(paths=("/spec/replicas", "/spec/list/0/a", "/spec/gone"))]
    assert with_ignored(d.manifest, None, rules, d.id).manifest == d.manifest
    managed = [{"manager": "x", "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:list": {}}}}]
    live = {"metadata": {"managedFields": managed}, "spec": {"replicas": 9, "list": [{"a": 5, "b": 2}]}}
    assert with_ignored(d.manifest, live, rules, d.id).manifest["spec"] == {
        "replicas": 9,
        "list": [{"a": 5, "b": 2}],
    }
    assert d.manifest["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("path", "spec"),
    [
        ("/spec/list/1/a", {"list": [{"a": 1}], "text": "x"}),
        ("/spec/list/x", {"list": [{"a": 1}], "text": "x"}),
        ("/spec/text/a", {"list": [{"a": 1}], "text": "x"}),
        ("/spec/none/a", {"list": [{"a": 1}], "text": "x"}),
        ("/spec/text", {"list": [{"a": 1}]}),
    ],
)
def test_an_ignored_path_that_git_does_not_have_changes_nothing_and_one_that_only_git_has_is_left_out(
    path: str, spec: dict[str, Any]
) -> None:
    d = desired({**config(), "spec": {"list": [{"a": 1}], "text": "x"}})
    live = {"spec": {"list": [{"a": 5}, {"a": 6}]}}
    made = with_ignored(d.manifest, live, [IgnoreRule(paths=(path,))], d.id)
    assert (made.manifest["spec"], made.doubts) == (spec, ())


# --- prune


def seen(oid: ObjectId, owner: SyncKey | None = ME, **annotations: str) -> Observed:
    obj: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": oid.kind,
        "metadata": {"name": oid.name, "uid": "u", "resourceVersion": "1", "annotations": dict(annotations)},
    }
    if owner:
        obj["metadata"]["annotations"][names.ANNOTATION_OWNER] = owner_annotation(owner, oid)
    return observe(obj, oid)


def maps(*labels: str) -> list[ObjectId]:
    return [ObjectId("", "ConfigMap", "team", n) for n in labels]


def pruned(
    inventory: list[ObjectId],
    keep: list[ObjectId],
    live: dict[ObjectId, Observed] | None = None,
    **policy: Any,
) -> Prune:
    found = {o: seen(o) for o in inventory} if live is None else live
    rules = PrunePolicy(policy.get("prune", True), policy.get("limit", "25%"))
    return prune(frozenset(inventory), frozenset(keep), found, ME, policy.get("wanted", {}), rules)


def test_what_left_git_is_deleted() -> None:
    a, b = maps("a", "b")
    assert pruned([a, b], [a]).delete == (b,)


@pytest.mark.parametrize(
    ("observed", "word"),
    [
        (lambda o: seen(o, OTHER), f"is handed over to Sync {OTHER}"),
        (lambda o: seen(o, None), "no longer"),
        (lambda o: seen(o, ME, **{names.ANNOTATION_PRUNE: "never"}), "stays"),
    ],
)
def test_what_is_not_ours_any_more_is_let_go(observed: Any, word: str) -> None:
    a, b = maps("a", "b")
    decision = pruned([a, b], [a], {b: observed(b)})
    assert decision.delete == ()
    assert word in decision.release[b]


def test_protected_kinds_need_leave() -> None:
    namespace = ObjectId("", "Namespace", "", "n")
    (a,) = maps("a")
    refused = pruned([a, namespace], [a])
    assert (refused.delete, set(refused.refuse)) == ((), {namespace})
    assert "setpoint.dev/prune: allow" in refused.message
    allowed = pruned(
        [a, namespace], [a], {namespace: seen(namespace, ME, **{names.ANNOTATION_PRUNE: "allow"})}
    )
    assert allowed.delete == (namespace,)


def test_limits() -> None:
    many = maps(*(f"o{i:02}" for i in range(41)))
    over = pruned(many, many[:1])
    assert (over.delete, over.message) == ((), "would delete 40 of 41 objects (limit 25%)")
    assert len(pruned(many, many[10:]).delete) == 10
    assert pruned(many, many[11:]).delete == ()
    assert len(pruned(many, many[11:], limit=11).delete) == 11
    assert pruned(many[:5], []).delete == ()
    assert len(pruned(many[:6], many[:1]).delete) == 5
    assert pruned(many, many[1:], limit=0).delete == ()


def test_an_object_that_another_wants_is_lent_until_it_names_that_one() -> None:
    a, b = maps("a", "b")
    decision = pruned([a, b], [a], wanted={b: OTHER})
    assert (decision.delete, decision.lend, dict(decision.release)) == ((), frozenset({b}), {})
    decision = pruned([a, b], [a], {b: seen(b, OTHER)}, wanted={b: OTHER})
    assert (decision.delete, decision.lend, set(decision.release)) == ((), frozenset(), {b})
    assert pruned([a, b], [a]).delete == (b,)  # the other gave up


def test_two_syncs_that_change_places_need_not_wait_for_each_other() -> None:
    a, b, c = maps("a", "b", "c")
    live = {o: seen(o) for o in (a, b, c)}
    assert handed_over([a, b], live, ME, {a: OTHER}).lend == {a}
    assert handed_over([a, b], live, ME, {}) == Prune()
    assert handed_over([a], live, ME, {c: OTHER}) == Prune()
    assert handed_over([a], {}, ME, {a: OTHER}).release == {a: "is gone"}


OURS = {"manager": "setpoint", "operation": "Apply", "fieldsV1": {"f:data": {"f:k": {}}}}
THEIRS = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:k": {}}}}


@pytest.mark.parametrize(
    ("managed", "op", "ours"),
    [
        ([OURS], "replace", True),
        ([OURS], "remove", True),
        ([OURS], "add", False),
        ([THEIRS], "replace", False),
        ([OURS, THEIRS], "replace", False),
        ([], "replace", False),
    ],
)
def test_what_we_wrote_ourselves_before_a_crash_is_no_drift(
    managed: list[dict[str, Any]], op: str, ours: bool
) -> None:
    live = {"metadata": {"managedFields": managed}, "data": {"k": "new"}}
    assert written_by_us(live, [{"op": op, "path": "/data/k", "value": "old"}]) is ours


def test_what_somebody_applied_under_our_name_is_not_taken_for_ours() -> None:
    op = {"op": "replace", "path": "/data/k", "value": "old"}
    live: dict[str, Any] = {"metadata": {"managedFields": [OURS]}, "data": {"k": "new"}}
    notes = {names.ANNOTATION_CHANGED_BY: "mallory", names.ANNOTATION_CHANGED_FROM: "7"}
    live["metadata"]["annotations"] = notes
    assert written_by_us(live, [op])
    notes[names.ANNOTATION_CHANGED_FROM] = "7 as setpoint"
    assert not written_by_us(live, [op])


ids = st.sets(st.sampled_from(maps(*"abcdefghij")), max_size=10)


@given(ids, ids, ids, ids, ids, st.integers(0, 12))
def test_nothing_but_what_left_git_and_nobody_wants_is_ever_deleted(
    inventory: set[ObjectId],
    wanted: set[ObjectId],
    alive: set[ObjectId],
    taken: set[ObjectId],
    by_others: set[ObjectId],
    limit: int,
) -> None:
    live = {o: seen(o, OTHER if o in taken else ME) for o in alive}
    decision = prune(
        frozenset(inventory),
        frozenset(wanted),
        live,
        ME,
        dict.fromkeys(by_others, OTHER),
        PrunePolicy(True, limit),
    )
    assert set(decision.delete) <= ((inventory - wanted) & alive) - taken - by_others
    assert len(decision.delete) <= limit
    named = set(decision.delete) | set(decision.refuse) | set(decision.release) | decision.lend
    assert named == inventory - wanted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3),
    lambda v: (
        st.lists(v, max_size=3) | st.dictionaries(st.text("ab/~", min_size=1, max_size=3), v, max_size=3)
    ),
    max_leaves=12,
)


@given(json_values, json_values)
def test_the_patch_turns_live_into_predicted_and_a_second_plan_is_empty(left: Any, right: Any) -> None:
    base = config()
    live, predicted = {**base, "spec": left}, {**base, "spec": right}
    patch = difference(live, predicted).patch
    after = jsonpatch.apply_patch(comparable(live), list(patch))
    assert after == comparable(predicted)
    assert difference(after, predicted).patch == ()


def test_a_verdict_is_remembered_and_never_the_content() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "n"},
        "data": {"p": "aHVudGVyMg=="},
    }
    memory = observe(secret, identity(secret))
    assert "aHVudGVyMg" not in repr(memory)
    assert isinstance(memory.verdict, Verdict)
    assert memory.verdict.health is Health.Healthy


# --- what is in use

WEB = ObjectId("apps", "ReplicaSet", "team", "web-1")


def test_what_is_used_stays_and_names_a_user() -> None:
    a, b, c = maps("a", "b", "c")
    decision = pruned([a, b, c], [c])
    assert in_question(decision) == {a, b}
    spared = without_used(decision, {a, b}, Users({a: WEB}), "team")
    assert (spared.delete, spared.message) == ((b,), "")
    assert spared.in_use == {a: "is no longer in Git and stays while ReplicaSet/web-1 uses it"}
    assert "ReplicaSet/team/web-1" in without_used(decision, {a, b}, Users({a: WEB})).in_use[a]


def test_what_nobody_was_asked_about_stays() -> None:
    a, b = maps("a", "b")
    assert (
        set(without_used(pruned([a, b], []), frozenset(), Users()).in_use) == set()
    )  # an empty commit deletes nothing
    spared = without_used(pruned([a, b], [b]), frozenset(), Users())
    assert (spared.delete, spared.in_use) == ((), {a: UNKNOWN_USERS})


def test_what_nobody_can_tell_of_for_now_stays() -> None:
    a, b, c = maps("a", "b", "c")
    decision = pruned([a, b, c], [c])
    spared = without_used(decision, {a, b}, Users({}, frozenset([a])))
    assert (spared.delete, spared.in_use) == ((b,), {a: REFUSED_USERS})


def test_of_other_kinds_and_of_what_stays_anyway_nobody_asks() -> None:
    (a,) = maps("a")
    others = [ObjectId("", "Service", "team", "s"), ObjectId("example.org", "Secret", "team", "x")]
    claim = ObjectId("", "PersistentVolumeClaim", "team", "data")
    assert in_question(pruned([a, *others, claim], [a])) == frozenset()
    allowed = {claim: seen(claim, ME, **{names.ANNOTATION_PRUNE: "allow"})}
    assert in_question(pruned([a, claim], [a], allowed)) == {claim}


def test_what_goes_with_its_namespace_is_not_asked_about() -> None:
    (a,), b = maps("a"), ObjectId("", "ConfigMap", "third", "b")
    namespace = ObjectId("", "Namespace", "", "team")
    elsewhere = ObjectId("", "Secret", "other", "s")
    live = {o: seen(o, ME, **{names.ANNOTATION_PRUNE: "allow"}) for o in (namespace, a, b, elsewhere)}
    decision = pruned([namespace, a, elsewhere, b], [b], live)
    assert in_question(decision) == {elsewhere}
    assert without_used(decision, {elsewhere}, Users({a: WEB, elsewhere: WEB})).delete == (a, namespace)


def test_what_stayed_as_it_was_used_does_not_count_again_for_the_limit() -> None:
    """Each commit of a rollout that hangs leaves one behind, and their sum is no reason to refuse the next."""
    many = maps(*(f"o{i}" for i in range(8)))
    live = {o: seen(o) for o in many}
    policy = PrunePolicy(True, "25%")

    def decide(agreed: list[ObjectId]) -> Prune:
        return prune(frozenset(many), frozenset(many[:1]), live, ME, {}, policy, agreed=agreed)

    assert decide([]).delete == ()
    assert decide([]).message.startswith("would delete 7 of 8")
    assert len(decide(many[1:7]).delete) == 7
    # A commit that drops too much does not take it along: it would count again in the next one.
    policy = PrunePolicy(True, 2)
    beyond = decide(many[1:4])
    assert (beyond.delete, set(beyond.refuse)) == (tuple(many[1:4]), set(many[4:]))
    assert beyond.message == "would delete 4 of 8 objects (limit 2)"


def rolling(
    name: str, namespace: str = "team", *found: str, earlier: Any = (), complete: bool = False
) -> Observed:
    used = frozenset(("ConfigMap", n) for n in found)
    former = None if earlier is None else frozenset(("ConfigMap", n) for n in earlier)
    oid = ObjectId("apps", "Deployment", namespace, name)
    return replace(seen(oid), rollout=Rollout(used, former, complete))


def test_where_pods_may_not_be_read_the_workloads_of_git_decide() -> None:
    a, b, c = maps("a", "b", "c")
    new = rolling("new", "team", "b", earlier=["a"])
    done = rolling("done", "team", "c", earlier=["a"], complete=True)
    assert users_in_git([a, b, c], [new, done]) == {a: new.id, b: new.id, c: done.id}
    assert users_in_git([a], [done, seen(a)]) == {}
    assert users_in_git([a], [rolling("new", "other", "b", earlier=["a"])]) == {}


def test_a_workload_whose_former_templates_nobody_knows_may_use_anything_beside_it() -> None:
    (a,) = maps("a")
    elsewhere = ObjectId("", "ConfigMap", "other", "a")
    hangs = rolling("hangs", "team", "b", earlier=None)
    assert users_in_git([a, elsewhere], [hangs]) == {a: hangs.id}
    done = rolling("done", "team", "b", earlier=None, complete=True)
    assert users_in_git([a], [done]) == {}
    # One whose present template names more than is remembered does so as long as it wants pods.
    many = replace(done, rollout=Rollout(None))
    assert users_in_git([a, elsewhere], [many]) == {a: many.id}


# --- what people do through a subresource


def scaled(*, by_git: bool) -> tuple[Desired, dict[str, Any]]:
    """A Deployment that was adopted and then scaled, with managedFields as an API server (1.36) has written them.

    `kubectl scale` takes the number out of whosever entry had it: of `setpoint-adopted` here, where Git does not set it.
    """
    meta = {"name": "d", "namespace": "team"}
    git: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta}
    spec: dict[str, Any] = {"replicas": 1} if by_git else {}
    git |= {"spec": {**spec, "paused": True}}
    oid = ObjectId("apps", "Deployment", "team", "d")
    entry = {"apiVersion": "apps/v1", "fieldsType": "FieldsV1"}
    number: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    managed = [
        {**entry, "manager": "setpoint", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}},
        {**entry, "manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": number},
        {
            **entry,
            "manager": "setpoint-adopted",
            "operation": "Apply",
            "fieldsV1": {"f:spec": {"f:revisionHistoryLimit": {}}},
        },
    ]
    spec = {"replicas": 2, "paused": True, "revisionHistoryLimit": 10}
    live = {**git, "metadata": {**meta, "managedFields": managed}, "spec": spec}
    return Desired(oid, git, "d1", "a.yaml:1", None), live


def test_what_was_scaled_stays_where_git_sets_no_number() -> None:
    d, live = scaled(by_git=False)
    assert foreign_additions(live, d, (), frozenset()) == ()
    # The same number, written into the object itself, is an addition.
    entries = [{k: v for k, v in e.items() if k != "subresource"} for e in live["metadata"]["managedFields"]]
    edited = {**live, "metadata": {**live["metadata"], "managedFields": entries}}
    (addition,) = foreign_additions(edited, d, (), frozenset())
    assert (managed_fields.pointer(addition[0]), addition[1]) == ("/spec/replicas", 2)


def test_what_was_scaled_is_noticed_where_git_sets_the_number() -> None:
    _, live = scaled(by_git=True)
    after = live["metadata"]["managedFields"]
    own = {**after[0], "fieldsV1": {"f:spec": {"f:paused": {}, "f:replicas": {}}}}
    assert managed_fields.ownership([own, after[2]]) != managed_fields.ownership(after)


def test_who_wrote_is_found_at_once_in_an_object_with_many_keys() -> None:
    """Where each path was compared with each that is owned this took minutes, and the lease was lost meanwhile."""
    many = [f"k{n}" for n in range(20_000)]
    d = desired(config(data={}))
    live = {**live_of(d), "data": dict.fromkeys(many, "v")}
    own: dict[str, Any]
    other: dict[str, Any]
    own, other = ({"f:data": {f"f:{key}{end}": {} for key in many}} for end in ("", "-else"))
    entries = live["metadata"]["managedFields"]
    entries[0]["fieldsV1"] = own
    entries.append({"manager": "else", "operation": "Update", "time": "t", "fieldsV1": other})
    live["data"] |= {f"{key}-else": "v" for key in many}
    after = {**live, "data": {f"{key}-else": "v" for key in many}}
    change = plan.decide(d, live, after, ME, (), frozenset(), most=30_000)
    assert change.ours
    assert len(change.patch) == len(many)
