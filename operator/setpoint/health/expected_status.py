"""Kinds whose controllers always write a status: without one an object is not ready yet (pure).

Most custom kinds report no status (Istio, Traefik, ServiceMonitors, templates, classes). A kind that is listed here by
mistake would never become healthy. So the default is no status, and a group is listed when its API says otherwise.
"""

from __future__ import annotations

_GROUPS = """
3scale.net airlock.com akka.io altinity.com ansible.com app.terraform.io apicur.io aquasecurity.github.io atlasgo.io
azure.com banzaicloud.io camel.apache.org cassandra.rook.io cdi.kubevirt.io ceph.rook.io cert-manager.io
certmanager.k8s.io cluster.x-k8s.io cnrm.cloud.google.com confluent.io couchbase.com crossplane.io
databases.schemahero.io datadoghq.com datastax.com dynatrace.com elbv2.k8s.aws external-secrets.io flagger.app
flink.apache.org gateway.networking.k8s.io gateway.solo.io gloo.solo.io grafana.integreatly.org hazelcast.com
hive.openshift.io humio.com infinispan.org install.istio.io jaegertracing.io k8s.elastic.co k8s.mariadb.com
k8ssandra.io karpenter.k8s.aws karpenter.sh keycloak.org kiali.io kruise.io kubernetes-client.io kubevirt.io
lifecycle.keptn.sh machine.openshift.io machineconfiguration.openshift.io mariadb.mmontes.io metal3.io minio.min.io
mongodb.com mongodbcommunity.mongodb.com mysql.oracle.com nifi.stackable.tech numaproj.io ocs.openshift.io
onepassword.com operator.knative.dev operator.openshift.io opster.io percona.com postgres-operator.crunchydata.com
postgresql.cnpg.io projectcontour.io promoter.argoproj.io pulumi.com rabbitmq.com ray.io rook.io
scylladb.com secrets.hashicorp.com services.k8s.aws serving.knative.dev serving.kserve.io snapshot.storage.k8s.io
solr.apache.org spot.io strimzi.io submariner.io toolkit.fluxcd.io
trident.netapp.io triggermesh.io upbound.io vitess.planetscale.com wildfly.org
work.karmada.io zalan.do zookeeper.pravega.io
"""

_KINDS = {
    "agones.dev": "Fleet GameServer GameServerSet",
    "argoproj.io": "AnalysisRun Application ApplicationSet EventBus EventSource Experiment Rollout Sensor Workflow",
    "astra.netapp.io": "Application Backup ResourceBackup Snapshot",
    "autoscaling.k8s.io": "VerticalPodAutoscaler",
    "eventing.knative.dev": "Broker Trigger",
    "keda.sh": "ScaledJob ScaledObject",
    "messaging.knative.dev": "Channel InMemoryChannel Subscription",
    "monitoring.coreos.com": "Alertmanager Prometheus PrometheusAgent ThanosRuler",
    "operators.coreos.com": "CatalogSource ClusterServiceVersion InstallPlan Subscription",
    "opentelemetry.io": "OpenTelemetryCollector",
    "operator.victoriametrics.com": "VLAgent VLCluster VLSingle VLogs VMAgent VMAlert VMAlertmanager VMAuth VMCluster VMSingle",
    "policy.open-cluster-management.io": "CertificatePolicy ConfigurationPolicy OperatorPolicy Policy",
    "sparkoperator.k8s.io": "SparkApplication",
    "tekton.dev": "CustomRun PipelineRun TaskRun",
    "velero.io": "Backup BackupStorageLocation DownloadRequest PodVolumeBackup Restore",
}

_MUTE = """
Alert AnalysisTemplate ClusterClass ClusterImageCatalog ClusterResourceSet Composition CompositionRevision
ControllerConfig DeploymentRuntimeConfig EnvironmentConfig ImageCatalog ImageConfig Instrumentation
KeptnEvaluationDefinition KeptnMetricsProvider KeptnTaskDefinition MachineHealthCheck ProviderConfig
ProviderConfigUsage ReferenceGrant RuntimeClass ScheduledBackup StoreConfig Usage
VolumeSnapshotClass VolumeGroupSnapshotClass ScheduledSparkApplication
"""
"""Kinds of those groups that are mere configuration; so are all whose name ends in `Template` or `Class`."""

_SUFFIXES = frozenset(_GROUPS.split())
_MUTE_KINDS = frozenset(_MUTE.split())


def speaks(group: str, kind: str) -> bool:
    """Whether the controller of a kind always writes a status."""
    if group in _KINDS:
        return kind in _KINDS[group].split()
    if (
        kind in _MUTE_KINDS
        or kind.endswith(("Template", "Class", "Usage", "Config"))
        or "instancetype" in group
    ):
        return False
    parts = group.split(".")
    # `Provider` of Flux became mere configuration; that of Crossplane is a package, which reports.
    if kind == "Provider" and group.startswith("notification."):
        return False
    return any(".".join(parts[start:]) in _SUFFIXES for start in range(len(parts)))
