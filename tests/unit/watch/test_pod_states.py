"""What the pods of a workload say about it: tables of pods, and what is made of them."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.health.verdict import Health, Verdict, degraded, healthy, progressing
from setpoint.objects.identity import ObjectId
from setpoint.watch import pod_states
from setpoint.watch.pod_states import PodState, in_question, refined, state_of, verdict_of, workload_of

Obj = dict[str, Any]
WEB = ObjectId("apps", "Deployment", "shop", "web")
IMAGE = "registry.example.org/web:9"
ROLLING = progressing("RolloutInProgress", "0 of 1 pods ready")
CAUSE = (
    f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": {IMAGE}: not found'
)


def owned(kind: str, name: str, api: str = "apps/v1", **labels: str) -> Obj:
    owner = {"apiVersion": api, "kind": kind, "name": name, "controller": True}
    meta = {"namespace": "shop", "name": f"{name}-x", "labels": labels, "ownerReferences": [owner]}
    return {"metadata": {**meta, "creationTimestamp": "2026-01-01T00:00:00Z"}}


def waiting(reason: str, message: str = "", ended: Obj | None = None) -> Obj:
    container = {"name": "web", "image": IMAGE, "state": {"waiting": {"reason": reason, "message": message}}}
    status = {"phase": "Pending", "containerStatuses": [{**container, "lastState": {"terminated": ended}}]}
    return {**owned("ReplicaSet", "web-7d9", **{"pod-template-hash": "7d9"}), "status": status}


def running(*, ready: bool) -> Obj:
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": [{"name": "web"}]}
    return {**owned("ReplicaSet", "web-7d9", **{"pod-template-hash": "7d9"}), "status": status}


def words(pod: Obj, *earlier: Obj) -> str:
    """Return what is said of a pod that was like `earlier` before."""
    state = None
    for each in (*earlier, pod):
        state = state_of(each, state)
    assert state is not None
    return state.verdict.message if state.verdict else ""


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        (owned("ReplicaSet", "web-7d9", **{"pod-template-hash": "7d9"}), ("apps", "Deployment", "web")),
        (owned("ReplicaSet", "web-7d9", **{"pod-template-hash": "other"}), ("apps", "ReplicaSet", "web-7d9")),
        (owned("ReplicaSet", "web"), ("apps", "ReplicaSet", "web")),
        (owned("StatefulSet", "db"), ("apps", "StatefulSet", "db")),
        (owned("DaemonSet", "agent"), ("apps", "DaemonSet", "agent")),
        (owned("Job", "migrate", "batch/v1"), ("batch", "Job", "migrate")),
        (owned("ReplicationController", "old", "v1"), ("", "ReplicationController", "old")),
    ],
)
def test_a_pod_belongs_to_what_controls_it(pod: Obj, workload: tuple[str, str, str]) -> None:
    group, kind, name = workload
    assert workload_of(pod) == ObjectId(group, kind, "shop", name)


@pytest.mark.parametrize(
    "pod",
    [
        {"metadata": {"namespace": "shop", "name": "bare"}},
        owned("Node", "node-0", "v1"),
        owned("Rollout", "web", "argoproj.io/v1alpha1"),
        {"metadata": {"ownerReferences": [{"kind": "Job", "apiVersion": "batch/v1", "name": "a"}]}},
        {"metadata": {"ownerReferences": "nonsense"}},
    ],
)
def test_other_pods_belong_to_nobody(pod: Obj) -> None:
    assert workload_of(pod) is None


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (waiting("ErrImagePull", "no answer"), f"container web: ErrImagePull {IMAGE}"),
        (waiting("ErrImagePull", CAUSE), f"container web: ErrImagePull {IMAGE} (not found)"),
        (waiting("ErrImagePull", f"a: {'x' * 70}"), f"container web: ErrImagePull {IMAGE}"),
        (
            waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'),
            f"container web: ImagePullBackOff {IMAGE}",
        ),
        (
            waiting("CrashLoopBackOff", "back-off 2m40s restarting", {"exitCode": 1, "reason": "Error"}),
            "container web: CrashLoopBackOff (exit code 1)",
        ),
        (
            waiting("CrashLoopBackOff", "back-off", {"exitCode": 137, "reason": "OOMKilled"}),
            "container web: CrashLoopBackOff (exit code 137: OOMKilled)",
        ),
        (
            waiting("CreateContainerConfigError", 'configmap "a" not found'),
            'container web: CreateContainerConfigError: configmap "a" not found',
        ),
        (waiting("CreateContainerError"), "container web: CreateContainerError"),
        (waiting("ContainerCreating"), ""),
        (running(ready=False), ""),
    ],
)
def test_what_keeps_a_container_from_running_is_said_without_what_changes_by_itself(
    pod: Obj, said: str
) -> None:
    assert words(pod) == said


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("ErrImagePull", CAUSE),
        ("ErrImagePull", "pull QPS exceeded"),
        ("ErrImagePull", "rpc error: code = Unknown desc = failed:\ntwo lines: unauthorized"),
        ("ErrImagePull", ""),
        (
            "RegistryUnavailable",
            f"image pull failed for {IMAGE} because the registry is unavailable: no route",
        ),
        (
            "SignatureValidationFailed",
            f"image pull failed for {IMAGE} because the signature validation failed",
        ),
    ],
)
def test_the_wait_for_the_next_try_is_told_in_the_words_of_the_last(reason: str, cause: str) -> None:
    """Also to a process that begins in between: it knows nothing of what was before."""
    tried = waiting(reason, cause)
    waits = waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": {reason}: {cause}')
    assert words(tried).startswith(f"container web: {reason} {IMAGE}")
    assert state_of(waits, None) == state_of(tried, None)


def test_a_try_and_the_wait_for_the_next_are_one_failure() -> None:
    """Of a kubelet before 1.32, whose waits do not say why."""
    first, waits = (
        waiting("ErrImagePull", CAUSE),
        waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'),
    )
    assert words(waits, first) == words(first)
    assert words(first, first, waits, waiting("ContainerCreating")) == words(first)


@pytest.mark.parametrize("said", ["Weather: rain", "CrashLoopBackOff: again", "no reason at all"])
def test_no_other_word_is_taken_for_a_reason(said: str) -> None:
    waits = waiting("ImagePullBackOff", f'Back-off pulling image "{IMAGE}": {said}')
    assert words(waits).startswith(f"container web: ImagePullBackOff {IMAGE}")


def test_a_pod_that_no_node_takes_is_on_its_way_until_one_does() -> None:
    text = (
        "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No victims."
    )
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    waits = {**running(ready=False), "status": {"phase": "Pending", "conditions": [condition]}}
    assert words(waits) == "unschedulable: 0/3 nodes are available: 3 Insufficient memory"
    state = state_of(waits, None)
    assert state is not None
    assert state.verdict is not None
    assert state.verdict.health is Health.Progressing
    assert words(running(ready=False), waits) == ""
    gated = {**condition, "reason": "SchedulingGated"}
    assert words({**waits, "status": {"phase": "Pending", "conditions": [gated]}}) == ""


def test_a_crash_is_remembered_while_the_container_is_tried_again() -> None:
    crash = waiting("CrashLoopBackOff", ended={"exitCode": 1})
    assert words(running(ready=False), crash) == words(crash)
    assert words(running(ready=True), crash) == ""
    assert words(running(ready=False), crash, running(ready=True)) == ""


def test_another_failure_takes_the_place_of_the_first() -> None:
    image, crash = waiting("ErrImagePull"), waiting("CrashLoopBackOff", ended={"exitCode": 1})
    assert words(crash, image) == words(crash)
    other = waiting("CrashLoopBackOff", ended={"exitCode": 2})
    assert words(other, crash) == words(other)


def test_a_pod_that_ended_or_goes_is_not_stuck() -> None:
    crash = waiting("CrashLoopBackOff", ended={"exitCode": 1})
    done = {**crash, "status": {"phase": "Succeeded"}}
    assert words(done, crash) == ""
    going = {**crash, "metadata": {**crash["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert state_of(going, state_of(crash, None)) is None


NOWHERE = progressing("A", "a")
BAD, WORSE = degraded("ErrImagePull", "a"), degraded("ErrImagePull", "b")


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ([], None),
        ([PodState("1", "T1")], None),
        ([PodState("1", "T1"), PodState("2", "T2", BAD)], BAD),
        ([PodState("1", "T1", BAD), PodState("2", "T2")], None),
        ([PodState("2", "T2", WORSE), PodState("2", "T2", BAD)], BAD),
        ([PodState("2", "T2", NOWHERE)], NOWHERE),
        ([PodState("2", "T2", NOWHERE), PodState("2", "T2", WORSE)], WORSE),
        # An old revision that is scaled up meanwhile does not become the newest.
        ([PodState("1", "T1"), PodState("2", "T2", BAD), PodState("1", "T3")], BAD),
    ],
)
def test_only_the_newest_revision_counts(states: list[PodState], found: Verdict | None) -> None:
    assert verdict_of(states) == found


@pytest.mark.parametrize(
    ("oid", "own", "asked"),
    [
        (WEB, ROLLING, True),
        (WEB, healthy("Available"), False),
        (WEB, degraded(pod_states.DEADLINE, "has timed out"), True),
        (WEB, degraded("Other", "for another reason"), False),
        (ObjectId("", "Service", "shop", "web"), progressing("Waiting", "for an address"), False),
    ],
)
def test_pods_speak_for_workloads_that_do_not_get_on(oid: ObjectId, own: Verdict, *, asked: bool) -> None:
    assert in_question(oid, own) is asked
    assert refined(oid, own, BAD) == (BAD if asked else own)
    assert refined(oid, own, None) == own


def test_a_stuck_pod_is_degraded() -> None:
    state = state_of(waiting("ErrImagePull"), None)
    assert state is not None
    assert state.verdict is not None
    assert (state.verdict.health, state.verdict.reason) == (Health.Degraded, "ErrImagePull")


VOLUMES = [{"name": "a", "persistentVolumeClaim": {"claimName": "library"}}, {"name": "b", "configMap": {}}]


@pytest.mark.parametrize(
    ("pod", "names"),
    [
        ({"spec": {"volumes": VOLUMES}}, {"library"}),
        ({"spec": {"volumes": VOLUMES}, "status": {"phase": "Pending"}}, {"library"}),
        ({"spec": {"volumes": VOLUMES}, "status": {"phase": "Succeeded"}}, set()),
        ({"spec": {"volumes": VOLUMES}, "status": {"phase": "Failed"}}, set()),
        ({"spec": {"volumes": VOLUMES}, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, set()),
        ({"spec": {"volumes": [{"persistentVolumeClaim": {}}, {"ephemeral": {}}]}}, set()),
        ({}, set()),
    ],
)
def test_a_pod_mounts_claims_until_it_is_finished(pod: Obj, names: set[str]) -> None:
    assert pod_states.mounts(pod) == names
