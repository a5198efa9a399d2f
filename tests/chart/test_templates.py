"""What the chart makes of its values, with the real Helm and no cluster."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.chart.conftest import CHART, NAMESPACE, Helm, Objects

from setpoint import __version__, settings
from setpoint.api import names
from setpoint.codegen import rbac
from setpoint.worker.container import LONGEST_END

pytestmark = pytest.mark.cluster  # Helm is built like the cluster's binaries

POLICY = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
EVERYTHING = (
    "--set=metrics.serviceMonitor.enabled=true,podAnnotations.a=b,podLabels.c=d,priorityClassName=high,nodeSelector.e=f",
    "--set=imagePullSecrets[0].name=pull,tolerations[0].operator=Exists,affinity.nodeAffinity.x=y",
    "--set=worker.extraEnv[0].name=HTTPS_PROXY,worker.extraEnv[0].value=http://proxy,settings.workers=3,settings.strictFields=true",
    "--set=settings.gitAllowedHosts={*.example.org,10.0.0.0/8},settings.gitDeniedHosts={10.1.0.0/16}",
    "--set=settings.peopleManagers={lens,k9s},rbac.impersonate=namespaced,rbac.namespaces={a,b},image.tag=x",
    "--set=volumes[0].name=ca,worker.volumeMounts[0].name=ca,worker.volumeMounts[0].mountPath=/ca,cache.medium=",
    "--set=rbac.watch[0].apiGroups={apps},rbac.watch[0].resources={deployments},serviceAccount.annotations.g=h",
    "--set=networkPolicy.enabled=true,networkPolicy.gitTo[0].ipBlock.cidr=192.0.2.0/24,networkPolicy.gitPorts={22}",
    f"--api-versions={POLICY}",
)


def only(objects: Objects, kind: str) -> dict[str, Any]:
    (found,) = [obj for obj in objects if obj["kind"] == kind]
    return found


def named(objects: Objects, kind: str) -> dict[str, dict[str, Any]]:
    return {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == kind}


def containers(objects: Objects) -> dict[str, dict[str, Any]]:
    found = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {container["name"]: container for container in found}


def environment(objects: Objects, container: str = "operator") -> dict[str, str]:
    entries = containers(objects)[container]["env"]
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names)), "of two values one would be lost"
    return {entry["name"]: entry.get("value", "") for entry in entries}


def both(objects: Objects) -> dict[str, str]:
    """Return the variables of both containers, none of which has two meanings."""
    ours, workers = environment(objects), environment(objects, "worker")
    assert all(ours[name] == workers[name] for name in ours.keys() & workers.keys())
    return ours | workers


def granted(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """(group/resource, verb, name or nothing) for each thing that rules allow."""
    return {
        (f"{group}/{resource}", verb, name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def of_table(*roles: rbac.Role) -> set[tuple[str, str, str]]:
    return {
        (f"{group}/{resource}", verb, "")
        for role in roles
        for rule in role.rules
        for group in rule.groups
        for resource in rule.resources
        for verb in rule.verbs
    }


@pytest.mark.parametrize("values", [(), EVERYTHING[:-1]])
def test_lint_finds_nothing(helm: Helm, values: tuple[str, ...]) -> None:
    text = helm.ok("lint", "--strict", "--kube-version=1.36.0", str(CHART), *values)
    assert "[ERROR]" not in text
    assert "[WARNING]" not in text


@pytest.mark.parametrize(
    "value",
    [
        "replicas=2",
        "image.repo=x",
        "settings.worker=2",
        "settings.workers=many",
        "networkPolicy.gitPorts={0}",
        "rbac.impersonate=all",
    ],
)
def test_a_typo_in_a_value_is_refused(helm: Helm, value: str) -> None:
    result = helm.run("template", "x", str(CHART), f"--set={value}")
    assert result.code != 0
    assert "values don't meet the specifications of the schema" in result.err
    assert value.split("=", maxsplit=1)[0].split(".", maxsplit=1)[0] in result.err


def test_the_chart_works_as_part_of_another(helm: Helm, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(CHART, parent / "charts" / "setpoint")
    (parent / "Chart.yaml").write_text("{apiVersion: v2, name: parent, version: 1.0.0}")
    (parent / "values.yaml").write_text("{global: {team: a}, setpoint: {replicaCount: 0}}")
    text = helm.ok("template", "x", str(parent), "--kube-version=1.36.0")
    assert "replicas: 0" in text


@pytest.mark.parametrize("values", [(), EVERYTHING])
def test_pods_are_restricted(helm: Helm, values: tuple[str, ...]) -> None:
    """The Pod Security Standard `restricted`, and a root file system that cannot be written."""
    pod = only(helm.template(*values), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostAliases"} & set(pod)
    assert not any("hostPath" in volume for volume in pod["volumes"])
    for container in pod["containers"] + pod.get("initContainers", []):
        own = {"runAsUser": 65533} if container["name"] == "worker" else {}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            **own,
        }
        assert all("hostPort" not in port for port in container.get("ports", []))
        assert container["resources"]["limits"]["memory"]


def test_the_deployment(helm: Helm) -> None:
    deployment = only(helm.template(), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert pod["enableServiceLinks"] is False
    assert container["image"] == f"setpoint:{__version__}"
    assert container["args"] == ["run"]
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    env = environment(helm.template())
    assert ports == {"metrics": env["SETPOINT_METRICS_PORT"], "probes": env["SETPOINT_PROBE_PORT"]}
    probes = container["livenessProbe"]["httpGet"], container["readinessProbe"]["httpGet"]
    assert probes == ({"path": "/healthz", "port": "probes"}, {"path": "/readyz", "port": "probes"})
    volumes = {volume["name"]: volume.get("emptyDir") for volume in pod["volumes"]}
    assert volumes["cache"] == {"medium": "Memory", "sizeLimit": "256Mi"}
    assert {(volumes[name] or {})["medium"] for name in ("tmp", "operator-tmp", "wall")} == {"Memory"}
    assert pod["terminationGracePeriodSeconds"] == LONGEST_END + 5


def mounts(container: dict[str, Any]) -> dict[str, str]:
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.mark.parametrize("values", [(), EVERYTHING])
def test_the_token_is_in_the_operators_container_alone(helm: Helm, values: tuple[str, ...]) -> None:
    objects = helm.template(*values)
    pod, found = only(objects, "Deployment")["spec"]["template"]["spec"], containers(objects)
    assert (pod["automountServiceAccountToken"], pod["shareProcessNamespace"]) == (False, False)
    accounts = [obj for obj in objects if obj["kind"] == "ServiceAccount"]
    assert {account["automountServiceAccountToken"] for account in accounts} == {False}
    (token,) = [each for each in pod["volumes"] if "projected" in each]
    (source,) = [each for each in token["projected"]["sources"] if "serviceAccountToken" in each]
    assert source["serviceAccountToken"] == {"path": "token", "expirationSeconds": 3600}
    assert token["projected"]["defaultMode"] == 0o440
    assert mounts(found["operator"])[TOKEN] == token["name"]
    assert token["name"] not in mounts(found["worker"]).values()
    # What the worker knows are settings of reading and rendering: nothing of the cluster, no name of a Secret or an account.
    known = environment(objects, "worker")
    ours = {settings.variable(each) for each in settings.OF_WORKER}
    assert {name for name in known if name != "HOME"} - ours <= {"HTTPS_PROXY"}
    references = [entry["valueFrom"] for entry in found["worker"]["env"] if "valueFrom" in entry]
    assert references == [{"resourceFieldRef": {"resource": "limits.memory"}}]
    # Who takes over a worker finds no file that the operator reads, and the operator none of a tenant's.
    shared = set(mounts(found["operator"]).values()) & set(mounts(found["worker"]).values())
    assert shared == {"wall"}
    assert mounts(found["worker"])["/var/cache/setpoint"] == "cache"
    assert "ports" not in found["worker"]


def test_without_automount_no_container_has_a_token(helm: Helm) -> None:
    objects = helm.template("--set=serviceAccount.automount=false")
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert not any("projected" in volume for volume in pod["volumes"])
    assert not any(TOKEN in mounts(container) for container in pod["containers"])


def test_both_find_each_other_and_each_knows_whom_to_expect(helm: Helm) -> None:
    objects = helm.template()
    found, ours, workers = containers(objects), environment(objects), environment(objects, "worker")
    assert found["worker"]["image"] == found["operator"]["image"]
    assert found["worker"]["args"] == ["worker", "--listen", ours["SETPOINT_WORKER_SOCKET"]]
    for container in found.values():
        assert mounts(container)[ours["SETPOINT_WORKER_SOCKET"]] == "wall"
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert ours["SETPOINT_WORKER_USER"] == str(found["worker"]["securityContext"]["runAsUser"])
    assert workers["SETPOINT_OPERATOR_USER"] == str(pod["securityContext"]["runAsUser"])
    other = helm.template("--set=securityContext.runAsUser=70000,worker.user=70001")
    assert environment(other, "worker")["SETPOINT_OPERATOR_USER"] == "70000"
    assert environment(other)["SETPOINT_WORKER_USER"] == "70001"
    assert containers(other)["worker"]["securityContext"]["runAsUser"] == 70001
    same = helm.template("--set=worker.sameUser=true,podSecurityContext.runAsUser=null")
    assert {environment(same, name)["SETPOINT_SAME_USER"] for name in found} == {"true"}
    assert not any("runAsUser" in container["securityContext"] for container in containers(same).values())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("podSecurityContext.runAsUser=null", "podSecurityContext.runAsUser names no user"),
        ("worker.user=65532", "operator and worker would both be user 65532"),
        ("worker.resources.limits.memory=lots", "lots is no quantity of memory"),
        (
            "worker.resources.limits.memory=1536Mi",
            "worker.resources.limits.memory is 1536 MiB, and less than",
        ),
    ],
)
def test_what_cannot_work_is_refused(helm: Helm, values: str, said: str) -> None:
    result = helm.run("template", "x", str(CHART), "--kube-version=1.36.0", f"--set={values}")
    assert result.code != 0
    assert said in result.err


def test_without_a_lease_the_old_pod_goes_first(helm: Helm) -> None:
    deployment = only(helm.template("--set=leaderElection.enabled=false"), "Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_several_replicas_are_not_evicted_at_once(helm: Helm) -> None:
    several = helm.template("--set=replicaCount=2")
    budget = only(several, "PodDisruptionBudget")["spec"]
    pods = only(several, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= pods.items()
    assert budget["maxUnavailable"] == 1
    # A budget for one pod alone would keep its node from being drained, or say nothing.
    for values in ((), ("--set=replicaCount=2,podDisruptionBudget.enabled=false",)):
        assert "PodDisruptionBudget" not in {o["kind"] for o in helm.template(*values)}


def test_the_environment_is_read_by_the_operator(helm: Helm) -> None:
    objects = helm.template(*EVERYTHING)
    env = {**both(objects), "POD_NAMESPACE": NAMESPACE}
    known = {settings.variable(name) for name in settings.FIELDS}
    assert {name for name in env if name.startswith("SETPOINT_")} <= known
    found = settings.from_environ(env)
    assert (found.workers, found.strict_fields, found.people_managers) == (3, True, ("lens", "k9s"))
    assert (found.git_allowed_hosts, found.git_denied_hosts) == (
        ("*.example.org", "10.0.0.0/8"),
        ("10.1.0.0/16",),
    )
    assert (found.namespace, found.admin_namespaces) == (NAMESPACE, (NAMESPACE,))
    assert found.watch_namespaces == ("a", "b", NAMESPACE)
    assert found.admin_service_account == "setpoint-admin"
    assert found.hmac_secret == "setpoint-redaction-key"
    assert environment(objects, "worker")["HTTPS_PROXY"] == "http://proxy"
    assert "HTTPS_PROXY" not in environment(objects), "its URL may hold a password"
    for container, reads in (("operator", settings.of_operator), ("worker", settings.of_worker)):
        given = {name for name in environment(objects, container) if name.startswith("SETPOINT_")}
        assert given <= {settings.variable(each) for each in settings.FIELDS if reads(each)}


def test_without_values_the_operator_runs_with_its_own_defaults(helm: Helm) -> None:
    found = settings.from_environ({**both(helm.template()), "POD_NAMESPACE": NAMESPACE})
    plain = settings.from_environ({"POD_NAMESPACE": NAMESPACE, "HOME": "/tmp"})
    changed = {name for name in settings.FIELDS if getattr(found, name) != getattr(plain, name)}
    assert changed == {"cache_dir", "worker_socket", "cache_in_memory"}
    assert found.git_allowed_hosts == (), "what is reserved is denied, loopback too"


def test_the_commented_defaults_are_what_the_operator_has(helm: Helm, tmp_path: Path) -> None:
    """Helm makes floats of numbers in files: 1e+06 is no number of values."""
    values = (CHART / "values.yaml").read_text()
    rows = re.findall(r"^#   (\w+: \S.*)$", values[values.index("# More settings") :], re.MULTILINE)
    assert len(rows) > 30
    file = tmp_path / "values.yaml"
    file.write_text("settings:\n" + "".join(f"  {row}\n" for row in rows))
    found, plain = (
        settings.from_environ({**both(helm.template(*more)), "POD_NAMESPACE": NAMESPACE})
        for more in ((f"--values={file}",), ())
    )
    assert found == plain


def test_rights_are_those_of_the_table(helm: Helm) -> None:
    objects = helm.template()
    roles = named(objects, "ClusterRole")
    assert granted(roles["setpoint"]["rules"]) == of_table(
        rbac.CLUSTER, rbac.OWN, rbac.WATCH, rbac.IMPERSONATE
    )
    release = granted(only(objects, "Role")["rules"])
    assert release == {
        ("coordination.k8s.io/leases", "create", ""),
        ("coordination.k8s.io/leases", "get", "setpoint"),
        ("coordination.k8s.io/leases", "patch", "setpoint"),
        ("coordination.k8s.io/leases", "watch", "setpoint"),
        ("/secrets", "get", "setpoint-redaction-key"),
        ("/serviceaccounts", "get", "setpoint-admin"),
        ("/serviceaccounts", "impersonate", "setpoint-admin"),
    }
    bound = {
        (binding["roleRef"]["name"], subject["name"])
        for kind in ("ClusterRoleBinding", "RoleBinding")
        for binding in [obj for obj in objects if obj["kind"] == kind]
        for subject in binding["subjects"]
    }
    assert bound == {("setpoint", "setpoint"), ("cluster-admin", "setpoint-admin")}


def test_rights_can_be_narrowed_to_kinds(helm: Helm) -> None:
    value = "--set=rbac.watch[0].apiGroups={apps},rbac.watch[0].resources={deployments}"
    rules = granted(named(helm.template(value), "ClusterRole")["setpoint"]["rules"])
    assert rules - of_table(rbac.CLUSTER, rbac.OWN, rbac.IMPERSONATE) == {
        ("apps/deployments", "list", ""),
        ("apps/deployments", "watch", ""),
    }


def test_rights_can_be_narrowed_to_namespaces(helm: Helm) -> None:
    objects = helm.template("--set=rbac.namespaces={a,b},rbac.impersonate=namespaced,admin.enabled=false")
    roles = named(objects, "ClusterRole")
    assert granted(roles["setpoint"]["rules"]) == of_table(rbac.CLUSTER)
    assert granted(roles["setpoint-namespaced"]["rules"]) == of_table(rbac.OWN, rbac.WATCH)
    bound = {
        (obj["metadata"]["namespace"], obj["roleRef"]["name"])
        for obj in objects
        if obj["kind"] == "RoleBinding"
    }
    everywhere = {
        (namespace, f"setpoint-{role}")
        for namespace in ("a", "b", NAMESPACE)
        for role in ("namespaced", "impersonator")
    }
    assert bound == everywhere | {(NAMESPACE, "setpoint")}
    assert [obj["roleRef"]["name"] for obj in objects if obj["kind"] == "ClusterRoleBinding"] == ["setpoint"]
    assert [obj["metadata"]["name"] for obj in objects if obj["kind"] == "ServiceAccount"] == ["setpoint"]


def test_without_admin_there_is_no_admin_namespace(helm: Helm) -> None:
    objects = helm.template("--set=admin.enabled=false")
    assert environment(objects)["SETPOINT_ADMIN_NAMESPACES"] == ""
    assert "cluster-admin" not in {obj.get("roleRef", {}).get("name") for obj in objects}


def test_admin_namespaces_replace_the_default(helm: Helm) -> None:
    env = environment(helm.template("--set=admin.namespaces={infra,ops}"))
    assert env["SETPOINT_ADMIN_NAMESPACES"] == "infra,ops"


def test_attribution_only_where_the_api_has_it(helm: Helm) -> None:
    kinds = {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"}

    def found(*values: str) -> set[str]:
        return kinds & {obj["kind"] for obj in helm.template(*values)}

    assert found() == set()
    assert found(f"--api-versions={POLICY}") == kinds
    assert found(f"--api-versions={POLICY}", "--set=attribution.enabled=false") == set()


def test_the_attribution_policy_knows_the_operator_by_what_only_it_has(helm: Helm) -> None:
    name = "serviceAccount.name=gitops"
    policy = only(helm.template(f"--api-versions={POLICY}", f"--set={name}"), "MutatingAdmissionPolicy")
    (condition,) = policy["spec"]["matchConditions"]
    assert f'"{names.OPERATOR_EXTRA}" in request.userInfo.extra' in condition["expression"]
    assert f'"system:serviceaccount:{NAMESPACE}:gitops"' in condition["expression"]
    assert "fieldManager" not in condition["expression"]
    text = str(policy["spec"])
    for each in (names.LABEL_SYNC, names.ANNOTATION_CHANGED_BY, names.ANNOTATION_CHANGED_FROM):
        assert each in text
    assert f'== "{names.FIELD_MANAGER}" ? "{names.UNDER_OUR_NAME}"' in text


def test_the_service_monitor_selects_the_service(helm: Helm) -> None:
    objects = helm.template("--set=metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.team=a")
    service, monitor = only(objects, "Service"), only(objects, "ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
    assert [port["name"] for port in service["spec"]["ports"]] == [monitor["spec"]["endpoints"][0]["port"]]
    assert monitor["metadata"]["labels"]["team"] == "a"
    assert (
        service["spec"]["selector"].items()
        <= only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    )
    assert "ServiceMonitor" not in {obj["kind"] for obj in helm.template()}


def test_a_network_policy_is_of_the_pod_and_only_where_it_is_wanted(helm: Helm) -> None:
    assert "NetworkPolicy" not in {obj["kind"] for obj in helm.template()}
    objects = helm.template("--set=networkPolicy.enabled=true")
    spec, pod = only(objects, "NetworkPolicy")["spec"], only(objects, "Deployment")["spec"]["template"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert [[port["port"] for port in rule["ports"]] for rule in spec["ingress"]] == [["metrics"], ["probes"]]
    assert ports == {"metrics", "probes"}
    asked = [{(port["port"], port["protocol"]) for port in rule["ports"]} for rule in spec["egress"]]
    assert asked == [{(53, "UDP"), (53, "TCP")}, {(443, "TCP"), (6443, "TCP")}, {(443, "TCP"), (22, "TCP")}]
    assert not [rule for rule in spec["ingress"] + spec["egress"] if {"from", "to"} & set(rule)]

    def block(number: int) -> list[dict[str, Any]]:
        return [{"ipBlock": {"cidr": f"192.0.2.{number}/32"}}]

    more = {"to": block(6), "ports": [{"port": 3128, "protocol": "TCP"}]}
    values = {
        "enabled": True,
        "dnsPorts": [53, 5353],
        "apiServerPorts": [6443],
        "gitPorts": [22],
        "moreEgress": [more],
    }
    places = ("metricsFrom", "probesFrom", "dnsTo", "apiServerTo", "gitTo")
    values |= {name: block(number) for number, name in enumerate(places, 1)}
    narrow = only(helm.template(f"--set-json=networkPolicy={json.dumps(values)}"), "NetworkPolicy")["spec"]
    assert [rule["from"] for rule in narrow["ingress"]] == [block(1), block(2)]
    assert [rule["to"] for rule in narrow["egress"]] == [block(3), block(4), block(5), block(6)]
    assert len(narrow["egress"][0]["ports"]) == 4
    assert [port["port"] for rule in narrow["egress"][1:] for port in rule["ports"]] == [6443, 22, 3128]


def test_the_key_is_long_and_can_be_yours(helm: Helm) -> None:
    first, second = (only(helm.template(), "Secret")["data"]["key"] for _ in range(2))
    assert first != second
    assert len(base64.b64decode(first)) == 64
    objects = helm.template("--set=redactionKey.existingSecret=mine")
    assert [obj for obj in objects if obj["kind"] == "Secret"] == []
    assert environment(objects)["SETPOINT_HMAC_SECRET"] == "mine"


def test_crds_are_kept_and_can_be_left_out(helm: Helm) -> None:
    crds = named(helm.template(), "CustomResourceDefinition")
    assert set(crds) == {"sources.setpoint.dev", "syncs.setpoint.dev"}
    for crd in crds.values():
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert named(helm.template("--set=crds.install=false"), "CustomResourceDefinition") == {}


def test_long_names_fit(helm: Helm) -> None:
    for obj in helm.template(f"--set=fullnameOverride={'n' * 80}", f"--api-versions={POLICY}"):
        assert len(obj["metadata"]["name"]) <= 63
