"""Of many failures the cause is told, and not what follows from it, however often that is said."""

from __future__ import annotations

import pytest

from setpoint.api.reasons import Reason
from setpoint.objects.identity import ObjectId
from setpoint.status.causes import most_alike
from setpoint.status.outcome import ObjectState, SyncState

NAMESPACE = ObjectId("", "Namespace", "", "shop")
CRD = ObjectId("apiextensions.k8s.io", "CustomResourceDefinition", "", "gadgets.bugs.example.org")


def failed(oid: ObjectId, reason: Reason, why: str) -> ObjectState:
    return ObjectState(oid, "v1", SyncState.FAILED, reason, f"{oid.name}.yaml:1: {oid.label()}: {why}")


def many(group: str, kind: str, namespace: str, reason: Reason, number: int = 53) -> list[ObjectState]:
    return [failed(ObjectId(group, kind, namespace, f"o{n}"), reason, "an echo") for n in range(number)]


@pytest.mark.parametrize(
    ("root", "echoes"),
    [
        (failed(NAMESPACE, Reason.Invalid, "no"), many("", "ConfigMap", "shop", Reason.NamespaceMissing)),
        (
            failed(NAMESPACE, Reason.Forbidden, "no"),
            [
                *many("", "ConfigMap", "shop", Reason.NamespaceMissing),
                *many("", "Secret", "shop", Reason.NamespaceMissing),
            ],
        ),
        (failed(CRD, Reason.Invalid, "no"), many("bugs.example.org", "Gadget", "shop", Reason.Invalid)),
        (failed(CRD, Reason.Invalid, "no"), many("bugs.example.org", "Gadget", "shop", Reason.KindUnknown)),
    ],
)
def test_what_others_fail_for_is_told_first(root: ObjectState, echoes: list[ObjectState]) -> None:
    assert most_alike([*echoes, root]) == [root]


@pytest.mark.parametrize(
    ("root", "others"),
    [
        (failed(NAMESPACE, Reason.Invalid, "no"), many("", "ConfigMap", "else", Reason.NamespaceMissing)),
        (failed(NAMESPACE, Reason.Invalid, "no"), many("", "ConfigMap", "shop", Reason.Invalid)),
        (failed(CRD, Reason.Invalid, "no"), many("other.example.org", "Gadget", "shop", Reason.Invalid)),
        (failed(CRD, Reason.Invalid, "no"), many("bugs.example.org", "Gadget", "shop", Reason.Forbidden)),
        # A name without a group says of no kind that it is its own.
        (
            failed(ObjectId(CRD.group, CRD.kind, "", "gadgets"), Reason.Invalid, "no"),
            many("", "Pod", "shop", Reason.Invalid),
        ),
    ],
)
def test_what_fails_for_reasons_of_its_own_counts(root: ObjectState, others: list[ObjectState]) -> None:
    assert most_alike([root, *others]) == sorted(others, key=lambda s: s.id)


def test_crds_are_no_echo_of_each_other() -> None:
    odd = failed(ObjectId(CRD.group, CRD.kind, "", f"a.{CRD.group}"), Reason.Invalid, "no")
    assert most_alike([odd]) == [odd]


def test_a_cause_that_names_each_object_is_one_cause() -> None:
    ids = [ObjectId("", "ConfigMap", "shop", f"o{n:02}") for n in range(53)]
    why = "denied by policy owners: {0} has no owner (ConfigMap/{0})"
    one = failed(ObjectId("", "ConfigMap", "shop", "a"), Reason.AdmissionDenied, "denied by policy sizes")
    denied = [failed(oid, Reason.AdmissionDenied, why.format(oid.name)) for oid in ids]
    assert most_alike([one, *denied]) == denied
