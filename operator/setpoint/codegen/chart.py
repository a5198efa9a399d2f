"""The values of the chart as one model: values.yaml, values.schema.json and docs are generated from it (pure).

Names follow Helm's starter chart. What the chart does not decide itself is passed on under `settings`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from setpoint import settings
from setpoint.codegen import chart_settings, crds

FreeForm = dict[str, Any]
Strings = dict[str, str]
Objects = list[dict[str, Any]]
Ports = list[Annotated[int, Field(ge=1, le=65535)]]


class Values(BaseModel):
    """A group of values: a typo is refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Image(Values):
    """The operator's image."""

    repository: str = Field("setpoint", min_length=1, description="Image, with the registry that holds it.")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="When to pull it."
    )
    tag: str = Field("", description="Tag, or `tag@sha256:...`; empty: the chart's appVersion.")


class ServiceAccount(Values):
    """The operator's account."""

    create: bool = Field(True, description="Whether the chart creates it.")
    automount: bool = Field(
        True,
        description="Whether its token is mounted into the operator's container, and into no other; without it, mount a kubeconfig by `volumes`.",
    )
    annotations: Strings = Field({}, description="Its annotations.")
    name: str = Field("", description="Its name; empty: the full name of the release.")


class Service(Values):
    """The Service for metrics."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field("ClusterIP", description="Its type.")
    port: int = Field(8080, ge=1, le=65535, description="Its port.")


class ServiceMonitor(Values):
    """A ServiceMonitor for the Prometheus operator."""

    enabled: bool = Field(False, description="Whether the chart creates it; its CRD must be there.")
    interval: str = Field("30s", description="How often metrics are scraped.")
    labels: Strings = Field({}, description="Its labels, for the selector of your Prometheus.")


class Metrics(Values):
    """Metrics."""

    service_monitor: ServiceMonitor = Field(
        ServiceMonitor(), description="A ServiceMonitor for the Prometheus operator."
    )


class Crds(Values):
    """The CRDs."""

    install: bool = Field(
        True, description="Whether the chart installs and upgrades the CRDs; uninstalling never removes them."
    )


class Admin(Values):
    """Administrators' Syncs."""

    enabled: bool = Field(
        True, description="Whether there is a cluster-admin account, for Syncs without `serviceAccountName`."
    )
    namespaces: list[str] = Field(
        [],
        description="The namespaces of such Syncs; empty: the release namespace alone. Whoever may write Syncs there is an administrator of the cluster.",
    )


class WatchRule(Values):
    """Kinds that the operator may list and watch."""

    api_groups: list[str] = Field(min_length=1, description="API groups.")
    resources: list[str] = Field(min_length=1, description="Resources, in the plural.")


class Rbac(Values):
    """Rights of the operator's account; docs/reference/chart.md lists and explains all of them."""

    create: bool = Field(True, description="Whether the chart creates roles and bindings.")
    namespaces: list[str] = Field(
        [],
        description="Namespaces that the operator looks at, besides its own; empty: all of them. With a list, it gets Roles there instead of ClusterRoles, and objects without a namespace are not watched.",
    )
    watch: list[WatchRule] = Field(
        [],
        description="Kinds that it may list and watch, as `{apiGroups: [apps], resources: [deployments]}`; empty: all, Secrets too. Drift of other kinds is seen at `spec.interval` only.",
    )
    impersonate: Literal["cluster", "namespaced"] = Field(
        "cluster",
        description="Whether the operator may act as any ServiceAccount, or only as those of its own namespace, of `rbac.namespaces`, and of namespaces whose owners bind the ClusterRole `<full name>-impersonator`.",
    )


class Cache(Values):
    """The volume for Git mirrors."""

    size: str = Field(
        "256Mi",
        pattern=r"^[1-9][0-9]{0,9}(Mi|Gi)$",
        description="How large it is. In memory it counts towards `worker.resources`.",
    )
    medium: Literal["Memory", ""] = Field("Memory", description="Memory, or empty: the disk of the node.")


class Worker(Values):
    """The container that reads repositories and renders."""

    user: int = Field(
        65533,
        ge=1,
        le=2**31 - 1,
        description="Its user id, which must be another than the operator's.",
    )
    same_user: bool = Field(
        False,
        description="Whether both containers have the user of the pod, where the platform chooses one for it, as OpenShift does; `podSecurityContext.runAsUser` is null then. What keeps the containers apart is less then: see docs/security.md.",
    )
    resources: FreeForm = Field(
        {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "5Gi"}},
        description="What it asks for and may use. The limit must have room for all parts at once: the cache and its /tmp, which are in memory, `settings.readers` and builds, each with its memory, and Git processes.",
    )
    extra_env: Objects = Field(
        [],
        description="More environment of it, such as a proxy or authorities for Git: `[{name: HTTPS_PROXY, value: ...}]`.",
    )
    volume_mounts: Objects = Field([], description="More mounts of it.")


class Attribution(Values):
    """Who made a manual change."""

    enabled: bool = Field(
        True,
        description="Whether a MutatingAdmissionPolicy notes the user on managed objects, where the API server has admissionregistration.k8s.io/v1 of it.",
    )


class LeaderElection(Values):
    """Leader election."""

    enabled: bool = Field(True, description="Whether a lease keeps a second operator from working.")
    lease_duration: str = Field(
        settings.written("lease_duration"), pattern=r"^[0-9]+(s|m)$", description="How long the lease lasts."
    )


class PodDisruptionBudget(Values):
    """What keeps drained nodes from taking all operators at once."""

    enabled: bool = Field(
        True,
        description="Whether, with several replicas, an eviction waits while another of them is not available.",
    )


class NetworkPolicy(Values):
    """What may connect to the pod, and where the pod may connect to, where the network enforces it."""

    enabled: bool = Field(
        False, description="Whether the chart creates it. It is of the whole pod, and knows addresses alone."
    )
    metrics_from: Objects = Field(
        [],
        description="Who may read metrics, as `[{namespaceSelector: ...}]`; empty: everybody who reaches the pod.",
    )
    probes_from: Objects = Field(
        [],
        description="Who may ask for its health besides the kubelet, which networks let through by themselves, as a rule; empty: everybody.",
    )
    dns_to: Objects = Field([], description="Where names may be resolved; empty: anywhere.")
    dns_ports: Ports = Field(
        [53],
        min_length=1,
        description="Ports of DNS behind its Service, over UDP and TCP; OpenShift has 5353.",
    )
    api_server_to: Objects = Field(
        [],
        description="Where the API server is, as `[{ipBlock: {cidr: 192.0.2.7/32}}]`; empty: anywhere. What counts are its own addresses, not that of the Service.",
    )
    api_server_ports: Ports = Field([443, 6443], min_length=1, description="Ports of the API server itself.")
    git_to: Objects = Field(
        [], description="Where Git servers, or the proxy to them, may be; empty: anywhere."
    )
    git_ports: Ports = Field(
        [443, 22], min_length=1, description="Ports of Git servers, behind a Service those of their pods."
    )
    more_egress: Objects = Field(
        [], description="More rules for where the pod may connect to, as in a NetworkPolicy."
    )


class RedactionKey(Values):
    """The key that turns values of Secrets into hashes, in patches that people see, and makes the digests in statuses."""

    existing_secret: str = Field(
        "",
        description="A Secret of yours with 32 random bytes or more under `key`; empty: the chart creates one. Needed where a tool renders the chart without a cluster, since the key would change each time, and each restart would then check every object once.",
    )


PORT: FreeForm = {"port": "probes"}
HTTP = {"live": {"path": "/healthz", **PORT}, "ready": {"path": "/readyz", **PORT}}


class Root(Values):
    """All values."""

    replica_count: int = Field(
        1, ge=0, le=10, description="How many operators; more than one are spares that wait for the lease."
    )
    image: Image = Field(Image(), description="The operator's image.")
    image_pull_secrets: Objects = Field([], description="Secrets to pull it with, as `[{name: ...}]`.")
    name_override: str = Field("", description="In place of the chart's name.")
    fullname_override: str = Field("", description="In place of the full name of the release, in all names.")
    service_account: ServiceAccount = Field(ServiceAccount(), description="The operator's account.")
    pod_annotations: Strings = Field({}, description="Annotations of the pod.")
    pod_labels: Strings = Field({}, description="Labels of the pod.")
    pod_security_context: FreeForm = Field(
        {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        description="Security context of the pod.",
    )
    security_context: FreeForm = Field(
        {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        description="Security context of both containers; the worker's has `worker.user` too.",
    )
    service: Service = Field(Service(), description="The Service for metrics.")
    resources: FreeForm = Field(
        {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
        description="What the operator's container asks for and may use.",
    )
    worker: Worker = Field(Worker(), description="The container that reads repositories and renders.")
    liveness_probe: FreeForm = Field(
        {"httpGet": HTTP["live"], "periodSeconds": 10, "failureThreshold": 6},
        description="Restart if it fails.",
    )
    readiness_probe: FreeForm = Field(
        # The first probe comes before the first answer can: the second should not be long in coming.
        {"httpGet": HTTP["ready"], "periodSeconds": 1, "failureThreshold": 15},
        description="Ready if it succeeds.",
    )
    node_selector: Strings = Field({}, description="Labels of nodes to run on.")
    tolerations: Objects = Field([], description="Taints to tolerate.")
    affinity: FreeForm = Field({}, description="Affinity of the pod.")
    topology_spread_constraints: Objects = Field(
        [],
        description="How the pods are spread over nodes and zones; empty: as the scheduler does by itself.",
    )
    pod_disruption_budget: PodDisruptionBudget = Field(
        PodDisruptionBudget(), description="The PodDisruptionBudget."
    )
    priority_class_name: str = Field("", description="PriorityClass of the pod.")
    extra_env: Objects = Field(
        [],
        description="More environment of the operator's container. A proxy for Git belongs to `worker.extraEnv`.",
    )
    volumes: Objects = Field([], description="More volumes of the pod.")
    volume_mounts: Objects = Field([], description="More mounts of the operator's container.")
    crds: Crds = Field(Crds(), description="The CRDs.")
    admin: Admin = Field(Admin(), description="Syncs that act as cluster-admin.")
    rbac: Rbac = Field(Rbac(), description="Rights of the operator's account.")
    cache: Cache = Field(Cache(), description="The volume for Git mirrors.")
    attribution: Attribution = Field(Attribution(), description="Who made a manual change.")
    leader_election: LeaderElection = Field(LeaderElection(), description="Leader election.")
    redaction_key: RedactionKey = Field(RedactionKey(), description="The key that hides values of Secrets.")
    metrics: Metrics = Field(Metrics(), description="Metrics.")
    network_policy: NetworkPolicy = Field(NetworkPolicy(), description="A NetworkPolicy of the pod.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe messages that are logged."
    )
    log_format: Literal["json", "text"] = Field(
        "json", description="One JSON object a line, or text for people."
    )


GLOBAL = {"type": "object", "description": "Values that a parent chart shares; not used here."}


def schema() -> FreeForm:
    """Return the JSON schema of all values, in which nothing unknown may stand."""
    full: FreeForm = _untitled(Root.model_json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **full,
        "properties": {**full["properties"], "settings": chart_settings.schema(), "global": GLOBAL},
    }


def _untitled(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _untitled(value)
            for key, value in node.items()
            if key not in ("title", "default") or not isinstance(node.get("type", node.get("$ref")), str)
        }
    return [_untitled(item) for item in node] if isinstance(node, list) else node


def values_yaml() -> str:
    """Return values.yaml: every value with its default, under what it means."""
    return "\n".join([*_group(Root(), ""), *chart_settings.values()]) + "\n"


def _group(values: Values, indent: str) -> list[str]:
    lines = []
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        lines.append(f"{indent}# {field.description}")
        if isinstance(value, Values):
            lines += [f"{indent}{to_camel(name)}:", *_group(value, indent + "  ")]
        else:
            lines += [indent + line for line in crds.dump({to_camel(name): value}).splitlines()]
        if not indent:
            lines.append("")
    return lines


def rows() -> list[tuple[str, str, str]]:
    """Return (dotted name, default as YAML, description) of each value, for the docs."""
    return _rows(Root(), "")


def _rows(values: Values, prefix: str) -> list[tuple[str, str, str]]:
    found = []
    for name, field in type(values).model_fields.items():
        value, path = getattr(values, name), prefix + to_camel(name)
        if isinstance(value, Values):
            found += _rows(value, f"{path}.")
        else:
            found.append((path, crds.flow(value), field.description or ""))
    return found
