"""Selects the health rule for a kind (pure)."""

from __future__ import annotations

from collections.abc import Callable

from setpoint.health import builtin, custom, pods, workloads
from setpoint.health.verdict import Object, Verdict

Rule = Callable[[Object], Verdict | None]
"""A verdict, or None where the generic rules know better."""

_RULES: dict[tuple[str, str], Rule] = {
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("", "ReplicationController"): workloads.replica_set,
    ("", "Pod"): pods.pod,
    ("batch", "Job"): workloads.job,
    ("batch", "CronJob"): workloads.cron_job,
    ("", "PersistentVolumeClaim"): builtin.claim,
    ("", "PersistentVolume"): builtin.volume,
    ("", "Service"): builtin.service,
    ("", "Namespace"): builtin.namespace,
    ("", "Node"): builtin.node,
    ("autoscaling", "HorizontalPodAutoscaler"): builtin.autoscaler,
    ("policy", "PodDisruptionBudget"): builtin.disruption_budget,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): builtin.definition,
    ("apiregistration.k8s.io", "APIService"): builtin.api_service,
    ("argoproj.io", "Application"): custom.application,
    ("argoproj.io", "Rollout"): custom.rollout,
    ("game.kruise.io", "GameServerSet"): custom.kruise_workload,
    ("cert-manager.io", "Certificate"): custom.certificate,
    ("grafana.integreatly.org", "Grafana"): custom.grafana,
    ("setpoint.dev", "Sync"): custom.sync,
    ("promoter.argoproj.io", "CommitStatus"): custom.by_conditions,
}

_GROUP_RULES: dict[str, Rule] = {
    "aws.crossplane.io": custom.crossplane,
    "azure.crossplane.io": custom.crossplane,
    "gcp.crossplane.io": custom.crossplane,
    "upbound.io": custom.crossplane,
    "percona.com": custom.by_state,
    "apps.kruise.io": custom.kruise_workload,
    "gateway.solo.io": custom.solo,
    "gloo.solo.io": custom.solo,
    "enterprise.gloo.solo.io": custom.solo,
}


def rule(group: str, kind: str) -> Rule | None:
    """Return the rule of a kind, or None where the generic rules apply."""
    if found := _RULES.get((group, kind)):
        return found
    parts = group.split(".")
    return next((r for n in range(len(parts)) if (r := _GROUP_RULES.get(".".join(parts[n:])))), None)


def speaks_by_rule(group: str, kind: str) -> bool:
    """Whether the rule of a kind comes before Reconciling and Stalled: our own Syncs say all of it by Ready."""
    return (group, kind) == ("setpoint.dev", "Sync")


def trivial(group: str, kind: str) -> bool:
    """Whether a kind is healthy as soon as it exists."""
    return (group, kind) in builtin.TRIVIAL
