"""Verdicts of objects as they look in real clusters, written as a table: object, health, reason, part of the message."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.health import evaluate as health
from setpoint.health.verdict import Health

Obj = dict[str, Any]


def make(api: str, kind: str, status: Any = None, spec: Any = None, **meta: Any) -> Obj:
    obj: Obj = {"apiVersion": api, "kind": kind, "metadata": {"name": "a", "namespace": "n", **meta}}
    return obj | ({} if status is None else {"status": status}) | ({} if spec is None else {"spec": spec})


def cond(kind: str, status: str, reason: str = "", message: str = "", **more: Any) -> Obj:
    return {"type": kind, "status": status, "reason": reason, "message": message, **more}


def with_conditions(*conditions: Obj, api: str = "example.org/v1", kind: str = "Thing", **meta: Any) -> Obj:
    return make(api, kind, {"conditions": list(conditions)}, **meta)


AVAILABLE = cond("Available", "True", "MinimumReplicasAvailable")
DONE = cond("Progressing", "True", "NewReplicaSetAvailable", "has successfully progressed.")


def deployment(wanted: int = 3, *conditions: Obj, **counts: int) -> Obj:
    status = {"conditions": list(conditions or (AVAILABLE, DONE)), "observedGeneration": 1, **counts}
    return make("apps/v1", "Deployment", status, {"replicas": wanted}, generation=1)


def full(n: int, **more: int) -> dict[str, int]:
    return {"replicas": n, "updatedReplicas": n, "readyReplicas": n, "availableReplicas": n, **more}


def pod(phase: str, *containers: Obj, ready: str = "False", **more: Any) -> Obj:
    conditions = [cond("Ready", ready, "ContainersNotReady", "containers with unready status: [web]")]
    return make(
        "v1", "Pod", {"phase": phase, "conditions": conditions, "containerStatuses": list(containers), **more}
    )


def waiting(reason: str, message: str = "", last: Obj | None = None) -> Obj:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "web", "state": state, "lastState": {"terminated": last} if last else {}}


CASES: list[tuple[str, Obj, Health, str, str]] = [
    # --- workloads
    ("deployment done", deployment(3, **full(3)), Health.Healthy, "Available", "3 of 3 pods ready"),
    ("deployment at zero", deployment(0), Health.Healthy, "Available", "0 of 0"),
    (
        "deployment without status",
        make("apps/v1", "Deployment", spec={"replicas": 2}, generation=1),
        Health.Progressing,
        "RolloutInProgress",
        "0 of 2 pods created",
    ),
    (
        "deployment behind",
        deployment(3, **full(3)) | {"metadata": {"generation": 2}},
        Health.Progressing,
        "NotObserved",
        "newest spec",
    ),
    (
        "deployment one short",
        deployment(3, **full(3, readyReplicas=1, availableReplicas=1)),
        Health.Progressing,
        "RolloutInProgress",
        "1 of 3 pods available",
    ),
    (
        "deployment with old pods",
        deployment(3, **full(3, replicas=4)),
        Health.Progressing,
        "RolloutInProgress",
        "1 old pods",
    ),
    (
        "deployment over its deadline",
        deployment(
            3,
            AVAILABLE,
            cond(
                "Progressing",
                "False",
                "ProgressDeadlineExceeded",
                'ReplicaSet "a-1" has timed out progressing.',
            ),
            **full(3),
        ),
        Health.Degraded,
        "ProgressDeadlineExceeded",
        "timed out",
    ),
    (
        "deployment over quota",
        deployment(3, DONE, cond("ReplicaFailure", "True", "FailedCreate", "exceeded quota: cpu"), **full(1)),
        Health.Progressing,
        "FailedCreate",
        "1 of 3 pods created: exceeded quota: cpu",
    ),
    (
        "deployment paused",
        make("apps/v1", "Deployment", {"observedGeneration": 1}, {"paused": True}, generation=1),
        Health.Suspended,
        "Paused",
        "",
    ),
    (
        "stateful set by partition",
        make(
            "apps/v1",
            "StatefulSet",
            {
                "replicas": 3,
                "readyReplicas": 3,
                "updatedReplicas": 1,
                "currentRevision": "1",
                "updateRevision": "2",
            },
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
        ),
        Health.Progressing,
        "RolloutInProgress",
        "1 of 2 pods updated",
    ),
    (
        "stateful set that is updated on deletion",
        make("apps/v1", "StatefulSet", {}, {"updateStrategy": {"type": "OnDelete"}}),
        Health.Healthy,
        "OnDelete",
        "",
    ),
    (
        "daemon set without nodes",
        make("apps/v1", "DaemonSet", {"desiredNumberScheduled": 0}),
        Health.Healthy,
        "RolloutComplete",
        "0 of 0",
    ),
    (
        "daemon set being updated",
        make("apps/v1", "DaemonSet", {"desiredNumberScheduled": 2, "currentNumberScheduled": 2}),
        Health.Progressing,
        "RolloutInProgress",
        "0 of 2 pods updated",
    ),
    (
        "image cannot be pulled",
        pod("Pending", waiting("ImagePullBackOff", 'Back-off pulling image "registry.example.org/ads:9"')),
        Health.Degraded,
        "ImagePullBackOff",
        'container web: Back-off pulling image "registry.example.org/ads:9"',
    ),
    (
        "container crashes",
        pod(
            "Running",
            waiting("CrashLoopBackOff", "back-off 5m0s", {"exitCode": 137, "reason": "OOMKilled"}),
        ),
        Health.Degraded,
        "CrashLoopBackOff",
        "container web: back-off 5m0s (last exit code 137: OOMKilled)",
    ),
    (
        "secret is missing",
        pod("Pending", waiting("CreateContainerConfigError", 'secret "db" not found')),
        Health.Degraded,
        "CreateContainerConfigError",
        'secret "db" not found',
    ),
    (
        "init container crashes",
        pod("Pending", initContainerStatuses=[waiting("CrashLoopBackOff", "back-off 10s")]),
        Health.Degraded,
        "CrashLoopBackOff",
        "back-off 10s",
    ),
    (
        "pod starts",
        pod("Pending", waiting("ContainerCreating")),
        Health.Progressing,
        "Pending",
        "container web: ContainerCreating",
    ),
    ("pod not ready", pod("Running"), Health.Progressing, "ContainersNotReady", "[web]"),
    ("pod ready", pod("Running", ready="True"), Health.Healthy, "Ready", ""),
    ("pod completed", pod("Succeeded"), Health.Healthy, "Succeeded", ""),
    (
        "pod failed",
        pod("Failed", {"name": "web", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}),
        Health.Degraded,
        "Failed",
        "exit code 3",
    ),
    (
        "pod evicted",
        pod("Failed", reason="Evicted", message="The node was low on resource: memory."),
        Health.Degraded,
        "Evicted",
        "low on resource",
    ),
    (
        "job runs",
        make("batch/v1", "Job", {"startTime": "t", "active": 1, "failed": 2}, {"completions": 4}),
        Health.Progressing,
        "Running",
        "0 of 4 completed, 1 active, 2 failed",
    ),
    (
        "job failed",
        make(
            "batch/v1",
            "Job",
            {"conditions": [cond("Failed", "True", "BackoffLimitExceeded", "limit reached")]},
        ),
        Health.Degraded,
        "BackoffLimitExceeded",
        "limit reached",
    ),
    ("job suspended", make("batch/v1", "Job", {}, {"suspend": True}), Health.Suspended, "Suspended", ""),
    (
        "cron job suspended",
        make("batch/v1", "CronJob", {}, {"suspend": True}),
        Health.Suspended,
        "Suspended",
        "",
    ),
    # --- other built-in kinds
    (
        "claim waits",
        make("v1", "PersistentVolumeClaim", {"phase": "Pending"}),
        Health.Progressing,
        "Pending",
        "volume",
    ),
    ("claim bound", make("v1", "PersistentVolumeClaim", {"phase": "Bound"}), Health.Healthy, "Bound", ""),
    ("claim lost", make("v1", "PersistentVolumeClaim", {"phase": "Lost"}), Health.Degraded, "Lost", ""),
    (
        "volume failed",
        make("v1", "PersistentVolume", {"phase": "Failed", "message": "no plugin"}),
        Health.Degraded,
        "Failed",
        "no plugin",
    ),
    (
        "volume available",
        make("v1", "PersistentVolume", {"phase": "Available"}),
        Health.Healthy,
        "Available",
        "",
    ),
    (
        "service",
        make("v1", "Service", {"loadBalancer": {}}, {"type": "ClusterIP"}),
        Health.Healthy,
        "Ready",
        "",
    ),
    (
        "load balancer waits",
        make("v1", "Service", {"loadBalancer": {}}, {"type": "LoadBalancer"}),
        Health.Progressing,
        "LoadBalancerPending",
        "address",
    ),
    (
        "load balancer",
        make("v1", "Service", {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, {"type": "LoadBalancer"}),
        Health.Healthy,
        "LoadBalancerReady",
        "",
    ),
    ("ingress", make("networking.k8s.io/v1", "Ingress", {"loadBalancer": {}}), Health.Healthy, "Exists", ""),
    (
        "autoscaler without metrics",
        make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {
                "conditions": [
                    cond("ScalingActive", "False", "FailedGetResourceMetric", "no metrics known for pod")
                ]
            },
        ),
        Health.Healthy,
        "FailedGetResourceMetric",
        "no metrics",
    ),
    (
        "autoscaler without metrics whose target is gone",
        make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {
                "conditions": [
                    cond("ScalingActive", "False", "FailedGetExternalMetric", "no adapter"),
                    cond("AbleToScale", "False", "FailedGetScale", "deployments.apps not found"),
                ]
            },
        ),
        Health.Degraded,
        "FailedGetScale",
        "not found",
    ),
    (
        "autoscaler with a selector that is none",
        make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {"conditions": [cond("ScalingActive", "False", "InvalidSelector", "missing a selector")]},
        ),
        Health.Degraded,
        "InvalidSelector",
        "selector",
    ),
    (
        "autoscaler of a workload at zero",
        make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            {"conditions": [cond("AbleToScale", "True"), cond("ScalingActive", "False", "ScalingDisabled")]},
        ),
        Health.Healthy,
        "ScalingActive",
        "",
    ),
    (
        "budget without spare pods",
        make("policy/v1", "PodDisruptionBudget", {"currentHealthy": 1, "desiredHealthy": 2}),
        Health.Healthy,
        "Computed",
        "1 healthy pods, 2 needed",
    ),
    (
        "names of a CRD conflict",
        make(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            {"conditions": [cond("NamesAccepted", "False", "ListKindConflict", '"FooList" is in use')]},
        ),
        Health.Degraded,
        "ListKindConflict",
        "in use",
    ),
    (
        "server of an API is missing",
        make(
            "apiregistration.k8s.io/v1",
            "APIService",
            {
                "conditions": [
                    cond("Available", "False", "MissingEndpoints", "endpoints for service have no addresses")
                ]
            },
        ),
        Health.Progressing,
        "MissingEndpoints",
        "no addresses",
    ),
    ("namespace", make("v1", "Namespace", {"phase": "Active"}), Health.Healthy, "Active", ""),
    (
        "node not ready",
        make(
            "v1",
            "Node",
            {"conditions": [cond("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting")]},
        ),
        Health.Degraded,
        "NodeStatusUnknown",
        "stopped posting",
    ),
    (
        "cordoned",
        make("v1", "Node", {"conditions": [cond("Ready", "True")]}, {"unschedulable": True}),
        Health.Suspended,
        "Cordoned",
        "",
    ),
    # --- the standard conditions of kstatus
    (
        "stalled",
        with_conditions(cond("Stalled", "True", "BadSpec", "no such field")),
        Health.Degraded,
        "BadSpec",
        "no such",
    ),
    (
        "reconciling",
        with_conditions(
            cond("Ready", "False", "Waiting", "is not ready"),
            cond("Reconciling", "True", "Updating", "updating"),
        ),
        Health.Progressing,
        "Updating",
        "updating",
    ),
    (
        "reconciling after a failure",
        with_conditions(
            cond("Ready", "False", "BuildFailed", "kustomize build failed"),
            cond("Reconciling", "True", "ProgressingWithRetry", "in progress"),
            api="kustomize.toolkit.fluxcd.io/v1",
            kind="Kustomization",
        ),
        Health.Degraded,
        "BuildFailed",
        "kustomize build failed",
    ),
    # --- custom kinds that need no rule of their own
    ("mute", make("traefik.io/v1alpha1", "IngressRoute", spec={"routes": []}), Health.Healthy, "Exists", ""),
    (
        "speaks, and has not yet",
        make("cert-manager.io/v1", "ClusterIssuer", spec={}),
        Health.Progressing,
        "WaitingForStatus",
        "",
    ),
    (
        "not yet, but its controller was here",
        make("example.org/v1", "Thing", finalizers=["example.org/cleanup"]),
        Health.Progressing,
        "WaitingForStatus",
        "",
    ),
    ("conditions are empty", with_conditions(), Health.Progressing, "WaitingForStatus", ""),
    (
        "condition of an older spec",
        with_conditions(cond("Ready", "True", observedGeneration=1), generation=2),
        Health.Progressing,
        "NotObserved",
        "",
    ),
    (
        "severity is an error",
        with_conditions(cond("Ready", "False", "InstanceProvisioning", "quota", severity="Error")),
        Health.Degraded,
        "InstanceProvisioning",
        "quota",
    ),
    (
        "warnings of Strimzi are no fault",
        with_conditions(
            cond("Warning", "True", "DeprecatedFields", "x"), cond("Ready", "True"), kind="Kafka"
        ),
        Health.Healthy,
        "Ready",
        "",
    ),
    (
        "a part is not ready, the whole is",
        with_conditions(
            cond("Ready", "True"), cond("LastBackupSucceeded", "False", "BackupFailed", "denied")
        ),
        Health.Healthy,
        "Ready",
        "",
    ),
    (
        "operator of OpenShift",
        with_conditions(
            cond("Available", "True"),
            cond("Degraded", "True", "SyncError", "cannot sync"),
            cond("Progressing", "False"),
        ),
        Health.Degraded,
        "SyncError",
        "cannot sync",
    ),
    (
        "scaled to zero",
        with_conditions(
            cond("Ready", "True"), cond("Active", "False", "ScalerNotActive"), kind="ScaledObject"
        ),
        Health.Healthy,
        "Ready",
        "",
    ),
    (
        "Prometheus says degraded where others say False",
        with_conditions(
            cond("Available", "Degraded", "SomePodsNotReady", "shard 0: pod was evicted"), kind="Prometheus"
        ),
        Health.Degraded,
        "SomePodsNotReady",
        "evicted",
    ),
    (
        "waits for a person",
        with_conditions(cond("Ready", "False", "", "waiting for manual approval")),
        Health.Suspended,
        "NotReady",
        "approval",
    ),
    (
        "Strimzi makes a cluster",
        with_conditions(
            cond("NotReady", "True", "Creating", "Kafka cluster is being deployed"), kind="Kafka"
        ),
        Health.Progressing,
        "Creating",
        "being deployed",
    ),
    (
        "cluster of OpenShift without a way to its updates",
        with_conditions(
            cond("Available", "True"), cond("RetrievedUpdates", "False", "RemoteFailed", "no route")
        ),
        Health.Healthy,
        "Available",
        "",
    ),
    (
        "Percona logs its states as conditions",
        make(
            "pxc.percona.com/v1",
            "PerconaXtraDBCluster",
            {"state": "ready", "conditions": [cond("initializing", "True"), cond("ready", "True")]},
        ),
        Health.Healthy,
        "Ready",
        "",
    ),
    (
        "storage of backups is away",
        make("velero.io/v1", "BackupStorageLocation", {"phase": "Unavailable", "message": "bucket denied"}),
        Health.Degraded,
        "Unavailable",
        "bucket denied",
    ),
    (
        "ACK gave up",
        with_conditions(
            cond("ACK.Terminal", "True", "", "InvalidParameter: engine version"),
            cond("ACK.ResourceSynced", "False"),
        ),
        Health.Degraded,
        "ACKTerminal",
        "InvalidParameter",
    ),
    (
        "route of a gateway",
        make(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            {
                "parents": [
                    {
                        "parentRef": {"name": "edge"},
                        "conditions": [
                            cond("Accepted", "True", "Accepted"),
                            cond("ResolvedRefs", "False", "BackendNotFound", "Service shop not found"),
                        ],
                    }
                ]
            },
        ),
        Health.Degraded,
        "BackendNotFound",
        "edge: Service shop not found",
    ),
    (
        "Knative service that fails",
        with_conditions(
            cond("Ready", "False", "RevisionMissing", 'Configuration "a" does not have any ready Revision.')
        ),
        Health.Degraded,
        "RevisionMissing",
        "",
    ),
    (
        "cluster of CloudNativePG",
        make("postgresql.cnpg.io/v1", "Cluster", {"phase": "Cluster in healthy state"}),
        Health.Healthy,
        "ClusterInHealthyState",
        "",
    ),
    (
        "cluster of CloudNativePG on its way",
        make("postgresql.cnpg.io/v1", "Cluster", {"phase": "Waiting for the instances to become active"}),
        Health.Progressing,
        "WaitingForTheInstancesToBecomeActive",
        "",
    ),
    (
        "Elasticsearch is yellow",
        make("elasticsearch.k8s.elastic.co/v1", "Elasticsearch", {"health": "yellow", "phase": "Ready"}),
        Health.Progressing,
        "Yellow",
        "",
    ),
    (
        "virtual machine off",
        make("kubevirt.io/v1", "VirtualMachine", {"printableStatus": "Stopped"}),
        Health.Suspended,
        "Stopped",
        "",
    ),
    (
        "workflow runs",
        make("argoproj.io/v1alpha1", "Workflow", {"phase": "Running"}),
        Health.Progressing,
        "Running",
        "",
    ),
    (
        "machine runs",
        make("cluster.x-k8s.io/v1beta1", "Machine", {"phase": "Running"}),
        Health.Healthy,
        "Running",
        "",
    ),
    (
        "backup in part",
        make("velero.io/v1", "Backup", {"phase": "PartiallyFailed"}),
        Health.Degraded,
        "PartiallyFailed",
        "",
    ),
    (
        "suspended by its spec",
        with_conditions(cond("Ready", "False", "BuildFailed", "x")) | {"spec": {"suspend": True}},
        Health.Suspended,
        "Suspended",
        "spec.suspend",
    ),
    (
        "certificate is being issued",
        with_conditions(
            cond("Ready", "False", "DoesNotExist", "Issuing certificate as Secret does not exist"),
            cond("Issuing", "True", "DoesNotExist", "Issuing certificate as Secret does not exist"),
            api="cert-manager.io/v1",
            kind="Certificate",
        ),
        Health.Progressing,
        "DoesNotExist",
        "Issuing",
    ),
    (
        "certificate could not be issued",
        with_conditions(
            cond("Issuing", "False", "Failed", "order is invalid: DNS problem"),
            cond("Ready", "False", "DoesNotExist", "Secret does not exist"),
            api="cert-manager.io/v1",
            kind="Certificate",
        ),
        Health.Degraded,
        "Failed",
        "DNS problem",
    ),
    (
        "Argo CD's application, out of sync and healthy",
        make(
            "argoproj.io/v1alpha1",
            "Application",
            {"health": {"status": "Healthy"}, "sync": {"status": "OutOfSync"}},
        ),
        Health.Healthy,
        "Healthy",
        "",
    ),
    (
        "counts alone",
        make("example.org/v1", "Ring", {"readyReplicas": 1}, {"replicas": 3}),
        Health.Progressing,
        "NotReady",
        "1 of 3",
    ),
    (
        "error alone",
        make("example.org/v1", "Thing", {"error": {"message": "disk is full"}}),
        Health.Degraded,
        "Error",
        "disk",
    ),
    ("no errors", make("example.org/v1", "Thing", {"state": "NoErrors"}), Health.Healthy, "Exists", ""),
]


@pytest.mark.parametrize(
    ("obj", "wanted", "reason", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_verdict(obj: Obj, wanted: Health, reason: str, message: str) -> None:
    verdict = health.evaluate(obj)
    assert (verdict.health, verdict.reason) == (wanted, reason), verdict.message
    assert message in verdict.message


def test_deletion_comes_first_and_names_what_it_waits_for() -> None:
    leaving = deployment(3, **full(3))
    leaving["metadata"] |= {"deletionTimestamp": "2025-01-01T00:00:00Z", "finalizers": ["example.org/a", "b"]}
    verdict = health.evaluate(leaving)
    assert (verdict.health, verdict.reason) == (Health.Progressing, "Terminating")
    assert verdict.message == "is being deleted, waits for finalizers example.org/a, b"


TRIVIAL = [
    ("", "ConfigMap"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("storage.k8s.io", "StorageClass"),
]


@pytest.mark.parametrize(("group", "kind"), TRIVIAL)
def test_metadata_is_enough_for_trivial_kinds(group: str, kind: str) -> None:
    metadata_only = make(f"{group}/v1" if group else "v1", kind)
    assert health.trivial(group, kind)
    assert health.evaluate(metadata_only).health is Health.Healthy
    metadata_only["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    assert health.evaluate(metadata_only).health is Health.Progressing


@pytest.mark.parametrize(("group", "kind"), [("apps", "Deployment"), ("", "Pod"), ("example.org", "Secret")])
def test_kinds_with_a_status_are_not_trivial(group: str, kind: str) -> None:
    assert not health.trivial(group, kind)


def test_a_message_is_one_bounded_line_of_text() -> None:
    noisy = with_conditions(
        cond("Ready", "False", "BuildFailed", "line one\n\tline \x1b[31mtwo\x00 " + "x" * 5000)
    )
    message = health.evaluate(noisy).message
    assert message.startswith("line one line [31mtwo xxx")
    assert len(message) == 300
    assert message.endswith("…")
