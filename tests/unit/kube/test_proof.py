"""What proves whose a request is, and when it is left out."""

from __future__ import annotations

import logging

import pytest

from setpoint.kube.errors import ApiError, error_of_status
from setpoint.kube.proof import WITHOUT_SECONDS, Proof

SAID = (
    'userextras.authentication.k8s.io "setpoint" is forbidden: User "system:serviceaccount:sys:setpoint" cannot '
    'impersonate resource "userextras/setpoint.dev/operator" in API group "authentication.k8s.io" at the cluster scope'
)
ESCALATION = (
    'clusterroles.rbac.authorization.k8s.io "mine" is forbidden: user "system:serviceaccount:team:deployer" is attempting '
    'to grant RBAC permissions not currently held: {APIGroups:["authentication.k8s.io"], '
    'Resources:["userextras/setpoint.dev/operator"], Verbs:["impersonate"]}'
)


def test_who_is_impersonated_is_told_with_the_proof() -> None:
    assert Proof().headers(None) == {}
    assert Proof().headers("ana") == {
        "Impersonate-User": "ana",
        "Impersonate-Extra-setpoint.dev%2Foperator": "setpoint",
    }


def test_a_refused_proof_is_left_out_for_a_while_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1000.0
    made = Proof(lambda: now)
    assert made.is_refused(ApiError(403, "Forbidden", SAID))
    assert made.is_refused(ApiError(403, "Forbidden", SAID))  # one that was under way
    assert made.headers("ana") == {"Impersonate-User": "ana"}
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    now += WITHOUT_SECONDS
    assert len(made.headers("ana")) == 2


def test_the_answer_about_a_secret_tells_it_too() -> None:
    document = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": SAID}
    assert Proof().is_refused(error_of_status(document, secret=True))


@pytest.mark.parametrize(
    "error",
    [
        ApiError(403, "Forbidden", ESCALATION),
        ApiError(403, "Forbidden", f'admission webhook "x" denied the request: {SAID}'),
        ApiError(403, "Forbidden", f'configmaps "a" is forbidden: {SAID}'),
        ApiError(403, "Forbidden", SAID.replace("setpoint.dev/operator", "scopes")),
        ApiError(403, "Forbidden", 'User "u" cannot impersonate resource "serviceaccounts" in API group ""'),
        ApiError(500, "InternalError", SAID),
    ],
)
def test_no_tenant_can_have_it_left_out(error: ApiError) -> None:
    """By a role with this right, the words of a webhook, or anything else that a refusal quotes."""
    made = Proof()
    assert not made.is_refused(error)
    assert len(made.headers("ana")) == 2
