"""What the operator and people may do once the chart is installed, and who is noted for a change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.chart.conftest import CHART, NAMESPACE, Helm, parsed
from tests.kit.chart import until_attributed
from tests.kit.cluster import kubeconfig
from tests.kit.cluster.base import Cluster, KubectlError
from tests.kit.cluster.processes import until

from setpoint.api import names

SECONDS = 120

pytestmark = pytest.mark.cluster
OPERATOR = f"system:serviceaccount:{NAMESPACE}:setpoint"


def allowed(cluster: Cluster, verb: str, resource: str, *more: str, who: str = OPERATOR) -> bool:
    """kubectl fails on a no, and then writes the word."""
    try:
        return cluster.kubectl("auth", "can-i", verb, resource, f"--as={who}", *more).strip() == "yes"
    except KubectlError as error:
        if not str(error).rstrip().endswith("no"):
            raise
        return False


UNDER = f"--field-manager={names.FIELD_MANAGER}"


def acting(cluster: Cluster, token: str, user: str, extra: str = names.OPERATOR_EXTRA) -> str:
    """A login that acts as a user with an extra; kubectl has no flag for that before 1.36."""
    number = len(list(cluster.folder.glob("acting-*")))
    path = cluster.folder / f"acting-{number}.kubeconfig"
    login = {"token": token, "as": user, "as-user-extra": {extra: [names.FIELD_MANAGER]}}
    return f"--kubeconfig={kubeconfig.write(path, kubeconfig.endpoint(cluster.kubeconfig), login)}"


def test_the_operators_account_may_do_what_it_needs_and_no_more(
    own_cluster: Cluster, installed: Helm
) -> None:
    everywhere = ("list", "watch")
    for kind in ("deployments.apps", "configmaps", "secrets", "clusterroles.rbac.authorization.k8s.io"):
        assert all(allowed(own_cluster, verb, kind, "-A") for verb in everywhere), kind
        for verb in ("create", "update", "patch", "delete", "deletecollection"):
            assert not allowed(own_cluster, verb, kind, "-A"), (verb, kind)
    for resource in ("syncs.setpoint.dev", "sources.setpoint.dev"):
        assert allowed(own_cluster, "patch", resource, "-A")
        assert allowed(own_cluster, "patch", resource, "--subresource=status", "-A")
        assert not allowed(own_cluster, "delete", resource, "-A")
        assert not allowed(own_cluster, "create", resource, "-A")
    assert allowed(own_cluster, "impersonate", "serviceaccounts", "-A")
    assert not allowed(own_cluster, "impersonate", "users", "-A")
    assert not allowed(own_cluster, "impersonate", "groups", "-A")
    assert allowed(own_cluster, "patch", "leases/setpoint", "-n", NAMESPACE)
    assert not allowed(own_cluster, "patch", "leases/other", "-n", NAMESPACE)
    assert not allowed(own_cluster, "create", "leases", "-n", "kube-system")
    assert not allowed(own_cluster, "create", "pods", "--subresource=exec", "-A")
    assert not allowed(own_cluster, "create", "serviceaccounts", "--subresource=token", "-A")


def test_impersonation_by_namespace_with_a_real_token(own_cluster: Cluster, installed: Helm) -> None:
    """The operator acts as an account of a namespace only after its owner bound the ClusterRole."""
    installed.install("--set=rbac.impersonate=namespaced")
    login = own_cluster.kubeconfig_for(own_cluster.service_account_token(NAMESPACE, "setpoint"))
    own_cluster.kubectl("create", "namespace", "team")
    try:
        own_cluster.kubectl("create", "serviceaccount", "deployer", "-n", "team")
        own_cluster.kubectl(
            "create",
            "rolebinding",
            "deployer",
            "-n",
            "team",
            "--clusterrole=edit",
            "--serviceaccount=team:deployer",
        )
        account = "--as=system:serviceaccount:team:deployer"
        create = (f"--kubeconfig={login}", "create", "configmap", "a", "-n", "team")
        with pytest.raises(KubectlError, match="cannot impersonate"):
            own_cluster.kubectl(*create, account)
        own_cluster.kubectl(
            *("create", "rolebinding", "setpoint", "-n", "team", "--clusterrole=setpoint-impersonator"),
            f"--serviceaccount={NAMESPACE}:setpoint",
        )
        # What proves a request to be the operator's belongs to no namespace.
        deployer = account.removeprefix("--as=")
        proved = acting(own_cluster, own_cluster.service_account_token(NAMESPACE, "setpoint"), deployer)
        own_cluster.kubectl(proved, *create[1:])
        admin = f"--as=system:serviceaccount:{NAMESPACE}:setpoint-admin"
        own_cluster.kubectl(f"--kubeconfig={login}", "create", "namespace", "made-by-admin", admin)
        own_cluster.kubectl("delete", "namespace", "made-by-admin", "--wait=false")
        with pytest.raises(KubectlError, match="forbidden"):
            own_cluster.kubectl(*create)
    finally:
        own_cluster.kubectl("delete", "namespace", "team", "--wait=false")
        installed.install()


def test_people_may_see_but_not_write_syncs_by_the_built_in_roles(
    own_cluster: Cluster, installed: Helm
) -> None:
    own_cluster.kubectl("create", "rolebinding", "ana", "--clusterrole=edit", "--user=ana", "-n", NAMESPACE)

    def may(verb: str) -> bool:
        return allowed(own_cluster, verb, "syncs.setpoint.dev", "-n", NAMESPACE, who="ana")

    # The controller manager aggregates roles a moment after they are made.
    path = '{.rules[?(@.apiGroups[0]=="setpoint.dev")].verbs[0]}'
    own_cluster.kubectl("wait", f"--for=jsonpath={path}=get", "clusterrole/edit", "--timeout=120s")
    until(lambda: may("get"), "right to see Syncs", SECONDS)
    assert not may("create")
    own_cluster.kubectl(
        "create", "rolebinding", "ana-syncs", "--clusterrole=setpoint-edit", "--user=ana", "-n", NAMESPACE
    )
    until(lambda: may("create"), "right to make Syncs", SECONDS)


ADMIN = ("--as-group=system:masters",)


@pytest.mark.needs("MutatingAdmissionPolicy")
def test_the_user_of_a_manual_change_is_noted(own_cluster: Cluster, installed: Helm) -> None:
    own_cluster.kubectl("create", "namespace", "shop")
    here = ("-n", "shop")

    def noted(name: str, what: str = names.ANNOTATION_CHANGED_BY) -> Any:
        obj = parsed(own_cluster.kubectl("get", "configmap", name, "-o", "json", *here))
        return obj["metadata"].get("annotations", {}).get(what)

    def as_(user: str, *arguments: str) -> None:
        own_cluster.kubectl(*arguments, *here, f"--as={user}", *ADMIN)

    try:
        as_("ana", "create", "configmap", "plain")
        assert noted("plain") is None, "an object that no Sync manages is left alone"
        as_("setpoint", "create", "configmap", "app", "--field-manager=other")
        until_attributed(own_cluster)
        as_("ana@example.org", "label", "configmap", "app", f"{names.LABEL_SYNC}=0123456789abcdef")
        assert noted("app") == "ana@example.org"
        proved = acting(
            own_cluster, own_cluster.admin_token(), f"system:serviceaccount:{NAMESPACE}:setpoint-admin"
        )
        own_cluster.kubectl(proved, "annotate", "configmap", "app", "note=0", *here)
        assert noted("app") == "ana@example.org", "our own writes leave it as it was"
        as_("eve", "annotate", "configmap", "app", "note=1", "--overwrite", UNDER)
        assert noted("app") == "eve", "anybody may use our name"
        assert noted("app", names.ANNOTATION_CHANGED_FROM).endswith(names.UNDER_OUR_NAME)
        as_("bob", "annotate", "configmap", "app", "note=2", "--overwrite")
        assert noted("app") == "bob"
        assert noted("app", names.ANNOTATION_CHANGED_FROM).isdigit()
        as_("ci", "patch", "configmap", "app", "--type=merge", '--patch={"data":{"a":"b"}}')
        assert noted("app") == "ci"
        as_("system:serviceaccount:ci:runner", "annotate", "configmap", "app", "note=3", "--overwrite")
        assert noted("app") == "system:serviceaccount:ci:runner"
        as_("dan", "label", "configmap", "app", f"{names.LABEL_SYNC}-")
        assert noted("app") == "dan", "who takes the label away is noted too"
    finally:
        own_cluster.kubectl("delete", "namespace", "shop", "--wait=false")


def test_only_the_operator_can_prove_to_be_the_operator(own_cluster: Cluster, installed: Helm) -> None:
    """By the extra when it acts for a Sync."""
    here = ("-n", NAMESPACE)
    own_cluster.kubectl("create", "serviceaccount", "other", *here)
    own_cluster.kubectl("create", "clusterrole", "acts", "--verb=impersonate", "--resource=serviceaccounts")
    own_cluster.kubectl(
        "create", "clusterrolebinding", "acts", "--clusterrole=acts", f"--serviceaccount={NAMESPACE}:other"
    )
    user = f"system:serviceaccount:{NAMESPACE}:setpoint-admin"
    operator, other = (own_cluster.service_account_token(NAMESPACE, n) for n in ("setpoint", "other"))
    read = ("get", "configmaps", *here)
    try:
        own_cluster.kubectl(acting(own_cluster, operator, user), *read)
        with pytest.raises(KubectlError, match="userextras/scopes"):
            own_cluster.kubectl(acting(own_cluster, operator, user, "scopes"), *read)
        own_cluster.kubectl(f"--kubeconfig={own_cluster.kubeconfig_for(other)}", f"--as={user}", *read)
        with pytest.raises(
            KubectlError, match=rf"cannot impersonate resource .userextras/{names.OPERATOR_EXTRA}"
        ):
            own_cluster.kubectl(acting(own_cluster, other, user), *read)
    finally:
        own_cluster.kubectl("delete", "clusterrole,clusterrolebinding", "acts", "--ignore-not-found")
        own_cluster.kubectl("delete", "serviceaccount", "other", *here, "--ignore-not-found")


@pytest.mark.needs("MutatingAdmissionPolicy")
def test_what_the_operator_writes_to_a_nested_sync_is_nobodys_change(
    own_cluster: Cluster, installed: Helm
) -> None:
    """It is known by its own name there, as it does not act for anybody."""
    here = ("-n", NAMESPACE)
    meta = {"name": "nested", "namespace": NAMESPACE, "labels": {names.LABEL_SYNC: "0123456789abcdef"}}
    spec = {"source": {"name": "none"}, "suspend": True}
    sync = {"apiVersion": names.API_VERSION, "kind": "Sync", "metadata": meta, "spec": spec}
    operator = own_cluster.service_account_token(NAMESPACE, "setpoint")
    try:
        until_attributed(own_cluster)
        own_cluster.kubectl("create", "-f", "-", input=json.dumps(sync))
        first = notes_of_nested(own_cluster)
        assert names.ANNOTATION_CHANGED_BY in first
        own = f"--kubeconfig={own_cluster.kubeconfig_for(operator)}"
        own_cluster.kubectl(own, "annotate", "sync", "nested", "note=1", *here)
        assert notes_of_nested(own_cluster) == {**first, "note": "1"}
    finally:
        own_cluster.kubectl("delete", "sync", "nested", *here, "--ignore-not-found")


def notes_of_nested(cluster: Cluster) -> dict[str, str]:
    found = parsed(cluster.kubectl("get", "sync", "nested", "-n", NAMESPACE, "-o", "json"))
    return dict(found["metadata"]["annotations"])


def test_a_second_release_is_refused_by_helm(own_cluster: Cluster, installed: Helm) -> None:
    """There is one set of CRDs, and so one operator, in a cluster."""
    result = installed.run("install", "second", str(CHART), "--namespace", "elsewhere", "--create-namespace")
    own_cluster.kubectl("delete", "namespace", "elsewhere", "--ignore-not-found", "--wait=false")
    assert result.code != 0
    assert "cannot be imported into the current release" in result.err
