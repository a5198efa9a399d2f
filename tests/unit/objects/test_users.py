"""What pods name, in every spelling; who wants pods; and what a workload tells where pods may not be read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.objects.users.references import KINDS, names_in
from setpoint.objects.users.rollouts import MOST_NAMES, Rollout, rollout_of
from setpoint.objects.users.wants import names_of_revision, names_used, revisions_used

CONFIG, SECRET, CLAIM, ACCOUNT = "ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount"
DEFAULT = {(ACCOUNT, "default")}


def volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "v", **source}]}


def projected(**source: Any) -> dict[str, Any]:
    return volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}, source]})


def ephemeral(**claim: Any) -> dict[str, Any]:
    return volume(ephemeral={"volumeClaimTemplate": {"spec": claim}})


def env(**source: Any) -> dict[str, Any]:
    return {"env": [{"name": "A", "value": "x"}, {"name": "B", "valueFrom": source}]}


OF_POD = [
    (CONFIG, volume(configMap={"name": "x"})),
    (CONFIG, projected(configMap={"name": "x"})),
    (SECRET, volume(secret={"secretName": "x"})),
    (SECRET, projected(secret={"name": "x"})),
    (SECRET, {"imagePullSecrets": [{"name": "x"}]}),
    (SECRET, volume(csi={"driver": "d", "nodePublishSecretRef": {"name": "x"}})),
    (SECRET, volume(azureFile={"shareName": "s", "secretName": "x"})),
    (CLAIM, volume(persistentVolumeClaim={"claimName": "x"})),
    (CLAIM, ephemeral(dataSource={"kind": CLAIM, "name": "x"})),
    (CLAIM, ephemeral(dataSourceRef={"kind": CLAIM, "name": "x"})),
    *((SECRET, volume(**{kind: {"secretRef": {"name": "x"}}})) for kind in
      ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")),
]  # fmt: skip
OF_CONTAINER = [
    (CONFIG, {"envFrom": [{"prefix": "P", "configMapRef": {"name": "x"}}]}),
    (SECRET, {"envFrom": [{"secretRef": {"name": "x"}}]}),
    (CONFIG, env(configMapKeyRef={"name": "x", "key": "k"})),
    (SECRET, env(secretKeyRef={"name": "x", "key": "k"})),
]


@pytest.mark.parametrize(("kind", "spec"), OF_POD)
def test_a_pod_names_it(kind: str, spec: dict[str, Any]) -> None:
    assert names_in(spec) == {(kind, "x")} | DEFAULT


@pytest.mark.parametrize("where", ["containers", "initContainers", "ephemeralContainers"])
@pytest.mark.parametrize(("kind", "container"), OF_CONTAINER)
def test_a_container_names_it(kind: str, container: dict[str, Any], where: str) -> None:
    assert names_in({where: [{"name": "a"}, container]}) == {(kind, "x")} | DEFAULT


OPTIONAL = {"name": "x", "optional": True}


@pytest.mark.parametrize(
    "spec",
    [
        volume(configMap=OPTIONAL),
        volume(secret={"secretName": "x", "optional": True}),
        projected(configMap=OPTIONAL),
        projected(secret=OPTIONAL),
        {"containers": [{"envFrom": [{"configMapRef": OPTIONAL}, {"secretRef": OPTIONAL}]}]},
        {"containers": [env(configMapKeyRef={**OPTIONAL, "key": "k"})]},
        {"initContainers": [env(secretKeyRef={**OPTIONAL, "key": "k"})]},
    ],
)
def test_what_a_pod_can_do_without_does_not_count(spec: dict[str, Any]) -> None:
    assert names_in(spec) == DEFAULT


@pytest.mark.parametrize("key", ["serviceAccountName", "serviceAccount"])
def test_the_account_in_both_spellings(key: str) -> None:
    assert names_in({key: "x"}) == {(ACCOUNT, "x")}


def test_the_claim_of_an_ephemeral_volume_is_called_after_its_pod() -> None:
    pod = {"metadata": {"name": "web-1"}, "spec": ephemeral(storageClassName="s")}
    assert (CLAIM, "web-1-v") in names_used("Pod", pod)
    assert names_in(ephemeral(dataSource={"kind": "VolumeSnapshot", "name": "x"})) == DEFAULT


@given(st.lists(st.sampled_from(OF_POD)), st.lists(st.sampled_from(OF_CONTAINER)))
def test_together_they_name_what_each_of_them_names(pods: Any, containers: Any) -> None:
    lists = ("volumes", "imagePullSecrets")
    spec = {key: [one for _, part in pods for one in part.get(key, [])] for key in lists}
    spec["containers"] = [part for _, part in containers]
    assert names_in(spec) == {(kind, "x") for kind, _ in (*pods, *containers)} | DEFAULT


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "volumes",
                    "containers",
                    "env",
                    "envFrom",
                    "valueFrom",
                    "name",
                    "secretRef",
                    "configMap",
                    "projected",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["volumes", "containers", "imagePullSecrets"]), ANY))
def test_whatever_stands_there_is_read_without_an_error(spec: dict[str, Any]) -> None:
    for kind, name in names_in(spec):
        assert kind in KINDS
        assert isinstance(name, str)
        assert name
    assert rollout_of({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}) is not None


# --- who wants pods

TEMPLATE = {"spec": volume(configMap={"name": "x"})}
USED = {(CONFIG, "x")} | DEFAULT


def ended(kind: str, status: str = "True") -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, "status": status}]}}


@pytest.mark.parametrize(
    ("kind", "obj", "uses"),
    [
        ("Pod", {"spec": TEMPLATE["spec"]}, True),
        ("Pod", {"spec": TEMPLATE["spec"], "status": {"phase": "Running"}}, True),
        ("Pod", {"metadata": {"deletionTimestamp": "t"}, "spec": TEMPLATE["spec"]}, True),
        ("Pod", {"spec": TEMPLATE["spec"], "status": {"phase": "Succeeded"}}, False),
        ("Pod", {"spec": TEMPLATE["spec"], "status": {"phase": "Failed"}}, False),
        ("ReplicaSet", {"spec": {"template": TEMPLATE}}, True),
        ("ReplicaSet", {"spec": {"replicas": 2, "template": TEMPLATE}}, True),
        ("ReplicaSet", {"spec": {"replicas": 0, "template": TEMPLATE}, "status": {"replicas": 1}}, False),
        ("ReplicaSet", {"metadata": {"deletionTimestamp": "t"}, "spec": {"template": TEMPLATE}}, False),
        ("StatefulSet", {"spec": {"template": TEMPLATE}}, True),
        ("StatefulSet", {"spec": {"replicas": 0, "template": TEMPLATE}}, False),
        ("Job", {"spec": {"template": TEMPLATE}}, True),
        ("Job", {"spec": {"suspend": True, "template": TEMPLATE}}, True),
        ("Job", {"spec": {"parallelism": 0, "template": TEMPLATE}}, False),
        ("Job", {"spec": {"template": TEMPLATE}, **ended("Complete")}, False),
        ("Job", {"spec": {"template": TEMPLATE}, **ended("Failed")}, False),
        ("Job", {"spec": {"template": TEMPLATE}, **ended("Failed", "False")}, True),
    ],
)
def test_who_wants_pods_uses_what_they_name(kind: str, obj: dict[str, Any], *, uses: bool) -> None:
    assert names_used(kind, obj) == (USED if uses else frozenset())


def revised(current: str = "w-a", update: str = "w-b", observed: int = 2, **spec: Any) -> dict[str, Any]:
    """A StatefulSet on the way from one revision to another."""
    status = {"currentRevision": current, "updateRevision": update, "observedGeneration": observed}
    return {"metadata": {"generation": 2}, "spec": spec, "status": status}


ON_DELETE: Any = {"updateStrategy": {"type": "OnDelete"}}
PARTITION: Any = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}


@pytest.mark.parametrize(
    ("stateful", "revisions"),
    [
        # Below the partition, and without one as long as there are old pods, the next pod may be one of the old revision.
        (revised(**PARTITION), ("w-a",)),
        (revised(), ("w-a",)),
        (revised(update="w-a", **PARTITION), ()),
        # Whoever deletes a pod gets a new one; the current revision stays the first for ever.
        (revised(**ON_DELETE), ()),
        # The last change was not seen yet: what it makes is of what it saw before.
        (revised(observed=1, **ON_DELETE), ("w-a", "w-b")),
        (revised(update="w-a", observed=1), ("w-a",)),
        # It was made just now.
        (revised("", "", observed=0), ()),
        (revised("", "w-b"), ()),
        # It wants no pods.
        (revised(replicas=0, **PARTITION), ()),
        ({**revised(**PARTITION), "metadata": {"generation": 2, "deletionTimestamp": "t"}}, ()),
    ],
)
def test_a_stateful_set_may_make_pods_of_former_revisions(
    stateful: dict[str, Any], revisions: tuple[str, ...]
) -> None:
    assert revisions_used(stateful) == revisions


def test_a_revision_names_what_its_pods_would() -> None:
    assert names_of_revision({"data": {"spec": {"template": {"$patch": "replace", **TEMPLATE}}}}) == USED
    assert names_of_revision({"data": "?"}) == DEFAULT


# --- rollouts


def workload(
    kind: str, generation: int = 2, observed: int = 2, spec: Any = None, **status: Any
) -> dict[str, Any]:
    group = {"ReplicationController": "v1", "Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(
        kind, "apps/v1"
    )
    meta = {"name": "w", "generation": generation}
    full = {"template": TEMPLATE, "jobTemplate": {"spec": {"template": TEMPLATE}}, **(spec or {})}
    return {
        "apiVersion": group, "kind": kind, "metadata": meta, "spec": full,
        "status": {"observedGeneration": observed, **status},
    }  # fmt: skip


DONE: Any = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
SETS: Any = {"currentRevision": "a", "updateRevision": "a"}
NODES: Any = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}


@pytest.mark.parametrize(
    ("obj", "complete", "uses"),
    [
        (workload("Deployment", **DONE), True, True),
        (workload("Deployment", observed=1, **DONE), False, True),
        (workload("Deployment", **{**DONE, "replicas": 2}), False, True),
        (workload("Deployment", **{**DONE, "availableReplicas": 0}), False, True),
        (workload("Deployment", **DONE, terminatingReplicas=1), False, True),
        (workload("Deployment", spec={"replicas": 0}), True, False),
        (workload("StatefulSet", **DONE, **SETS), True, True),
        (workload("StatefulSet", **{**DONE, "updatedReplicas": 0}, currentRevision="a", updateRevision="b"), False, True),
        (workload("StatefulSet", **{**DONE, "readyReplicas": 0}, **SETS), False, True),
        (workload("DaemonSet", **NODES), True, True),
        (workload("DaemonSet", **{**NODES, "updatedNumberScheduled": 1}), False, True),
        (workload("ReplicaSet", **DONE), True, True),
        (workload("ReplicationController", **{**DONE, "readyReplicas": 0}), False, True),
        (workload("Job"), False, True),
        (workload("Job", conditions=[{"type": "Complete", "status": "True"}]), True, False),
        (workload("CronJob"), True, False),
        (workload("CronJob", active=[{"name": "w-1"}]), False, True),
    ],
)  # fmt: skip
def test_a_workload_tells_what_its_pods_name(obj: dict[str, Any], *, complete: bool, uses: bool) -> None:
    found = rollout_of(obj)
    assert found is not None
    assert (found.complete, found.names) == (complete, USED if uses else frozenset())
    # It was changed while nobody looked, so that nobody knows its former templates.
    assert found.earlier == (frozenset() if complete else None)


def test_a_pod_of_git_and_other_kinds() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": TEMPLATE["spec"]}
    assert rollout_of(pod) == Rollout(frozenset(USED), frozenset(), complete=False)
    assert rollout_of({**pod, "status": {"phase": "Failed"}}) == Rollout(frozenset())
    assert rollout_of({"apiVersion": "v1", "kind": "ConfigMap"}) is None


def test_a_new_workload_had_no_template_before() -> None:
    found = rollout_of(workload("Deployment", generation=1, observed=0))
    assert found is not None
    assert (found.complete, found.earlier) == (False, frozenset())


def test_former_templates_count_until_the_rollout_is_complete() -> None:
    a, b, c = (frozenset({(CONFIG, n)}) for n in "abc")
    second = Rollout(b, None, complete=False).after(Rollout(a))
    assert second.earlier == a
    assert Rollout(c, None, complete=False).after(second).earlier == a | b
    assert Rollout(c).after(second) == Rollout(c)
    unknown = Rollout(b, None, complete=False)
    assert unknown.after(None) == unknown
    assert Rollout(c, frozenset(), complete=False).after(unknown).earlier is None


def test_a_rollout_that_never_ends_fills_no_memory() -> None:
    """Whoever may change a workload could else have any number of names remembered."""
    now = Rollout(frozenset({(CONFIG, "first")}))
    for i in range(MOST_NAMES + 1):
        now = Rollout(frozenset({(CONFIG, f"c{i}")}), None, complete=False).after(now)
        assert now.earlier is None or len(now.earlier) == i + 1
    assert now.earlier is None
    assert Rollout(now.names).after(now).earlier == frozenset()


def test_a_template_that_names_ever_so_much_fills_no_memory() -> None:
    """What is beyond the bound may be anything, so nothing is taken for unused."""

    def naming(*names: str) -> dict[str, Any]:
        containers = [{"envFrom": [{"configMapRef": {"name": name}} for name in names]}]
        return workload("Deployment", spec={"template": {"spec": {"containers": containers}}})

    most = rollout_of(naming(*(f"c{i}" for i in range(MOST_NAMES - 1))))
    assert most is not None
    assert most.names is not None
    assert len(most.names) == MOST_NAMES  # with the account
    more = rollout_of(naming(*(f"c{i}" for i in range(MOST_NAMES))))
    assert more is not None
    assert more.names is None
    assert Rollout(frozenset(), None, complete=False).after(more).earlier is None
    # No object has such a name, however much of the manifest it fills.
    assert rollout_of(naming("x" * 254)) == rollout_of(naming())
