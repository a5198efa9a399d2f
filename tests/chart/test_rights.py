"""What the operator and people may do once the chart is installed, and who is noted for a change."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chart.conftest import CHART, NAMESPACE, Helm, parsed
from tests.kit.chart import until_attributed
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
    kubeconfig = own_cluster.kubeconfig_for(own_cluster.service_account_token(NAMESPACE, "setpoint"))
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
        create = (f"--kubeconfig={kubeconfig}", "create", "configmap", "a", "-n", "team")
        with pytest.raises(KubectlError, match="cannot impersonate"):
            own_cluster.kubectl(*create, account)
        own_cluster.kubectl(
            *("create", "rolebinding", "setpoint", "-n", "team", "--clusterrole=setpoint-impersonator"),
            f"--serviceaccount={NAMESPACE}:setpoint",
        )
        own_cluster.kubectl(*create, account)
        admin = f"--as=system:serviceaccount:{NAMESPACE}:setpoint-admin"
        own_cluster.kubectl(f"--kubeconfig={kubeconfig}", "create", "namespace", "made-by-admin", admin)
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

    def noted(name: str) -> Any:
        obj = parsed(own_cluster.kubectl("get", "configmap", name, "-o", "json", *here))
        return obj["metadata"].get("annotations", {}).get(names.ANNOTATION_CHANGED_BY)

    def as_(user: str, *arguments: str) -> None:
        own_cluster.kubectl(*arguments, *here, f"--as={user}", *ADMIN)

    try:
        as_("ana", "create", "configmap", "plain")
        assert noted("plain") is None, "an object that no Sync manages is left alone"
        as_("setpoint", "create", "configmap", "app", "--field-manager=other")
        until_attributed(own_cluster)
        as_("ana@example.org", "label", "configmap", "app", f"{names.LABEL_SYNC}=0123456789abcdef")
        assert noted("app") == "ana@example.org"
        as_("bob", "annotate", "configmap", "app", "note=1", f"--field-manager={names.FIELD_MANAGER}")
        assert noted("app") == "ana@example.org", "our own writes leave it as it was"
        as_("bob", "annotate", "configmap", "app", "note=2", "--overwrite")
        assert noted("app") == "bob"
        as_("ci", "patch", "configmap", "app", "--type=merge", '--patch={"data":{"a":"b"}}')
        assert noted("app") == "ci"
        as_("system:serviceaccount:ci:runner", "annotate", "configmap", "app", "note=3", "--overwrite")
        assert noted("app") == "system:serviceaccount:ci:runner"
        as_("dan", "label", "configmap", "app", f"{names.LABEL_SYNC}-")
        assert noted("app") == "dan", "who takes the label away is noted too"
    finally:
        own_cluster.kubectl("delete", "namespace", "shop", "--wait=false")


def test_a_second_release_is_refused_by_helm(own_cluster: Cluster, installed: Helm) -> None:
    """There is one set of CRDs, and so one operator, in a cluster."""
    result = installed.run("install", "second", str(CHART), "--namespace", "elsewhere", "--create-namespace")
    own_cluster.kubectl("delete", "namespace", "elsewhere", "--ignore-not-found", "--wait=false")
    assert result.code != 0
    assert "cannot be imported into the current release" in result.err
