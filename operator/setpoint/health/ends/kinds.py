"""Kinds whose objects end by themselves, and the fields that say when (data)."""

from __future__ import annotations

from dataclasses import dataclass

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnEnd:
    """Where objects of a kind say that they are finished, and how long they stay after that.

    Of several paths the first that says something counts.
    """

    ttl: tuple[Path, ...] = ()
    """Seconds, or a duration as Go writes it (`720h0m0s`)."""
    succeeded: tuple[Path, ...] = ()
    failed: tuple[Path, ...] = ()
    """The same where it depends on the result; they go before `ttl`."""
    finished: tuple[Path, ...] = ()
    """The time of the finish."""
    conditions: tuple[str, ...] = ()
    """Types of conditions that are True from the finish on."""
    due: Path = ()
    """The time of the end, where the object says it."""
    always: int | None = None
    """Seconds that hold for all objects of the kind."""
    collected: bool = False
    """Whether a finished object may be collected at any time, without a word about it in the object."""


def _path(text: str) -> Path:
    return tuple(text.split("."))


def _argo(field: str) -> tuple[Path, ...]:
    """Return a field of the strategy, in the Workflow or in the template that it was made from."""
    return _path(f"spec.ttlStrategy.{field}"), _path(f"status.storedWorkflowTemplateSpec.ttlStrategy.{field}")


_TTL = (_path("spec.ttlSecondsAfterFinished"),)
# The annotation is the user's, or the pruner's, which writes there what its configuration says. Other ways of Tekton
# to clean up go by the number or the age of finished runs, and leave no trace in them.
_TEKTON = OwnEnd(
    ttl=(("metadata", "annotations", "pruner.tekton.dev/ttlSecondsAfterFinished"),),
    finished=(_path("status.completionTime"),),
    collected=True,
)
_TRAINING = OwnEnd(
    ttl=(_path("spec.runPolicy.ttlSecondsAfterFinished"),),
    finished=(_path("status.completionTime"),),
    conditions=("Succeeded", "Failed"),
)

OWN_ENDS = {
    ("batch", "Job"): OwnEnd(ttl=_TTL, conditions=("Complete", "Failed")),
    # By the collector of terminated Pods, or with their node.
    ("", "Pod"): OwnEnd(collected=True),
    # The cleaner of kube-controller-manager, an hour after the decision.
    ("certificates.k8s.io", "CertificateSigningRequest"): OwnEnd(
        conditions=("Approved", "Denied", "Failed"), always=3600
    ),
    ("tekton.dev", "PipelineRun"): _TEKTON,
    ("tekton.dev", "TaskRun"): _TEKTON,
    ("argoproj.io", "Workflow"): OwnEnd(
        ttl=_argo("secondsAfterCompletion"),
        succeeded=_argo("secondsAfterSuccess"),
        failed=_argo("secondsAfterFailure"),
        finished=(_path("status.finishedAt"),),
    ),
    ("velero.io", "Backup"): OwnEnd(
        ttl=(_path("spec.ttl"),),
        finished=(_path("status.completionTimestamp"),),
        due=_path("status.expiration"),
    ),
    # It goes with its Backup.
    ("velero.io", "Restore"): OwnEnd(finished=(_path("status.completionTimestamp"),), collected=True),
    ("jobset.x-k8s.io", "JobSet"): OwnEnd(ttl=_TTL, conditions=("Completed", "Failed")),
    ("kubeflow.org", "PyTorchJob"): _TRAINING,
    ("kubeflow.org", "TFJob"): _TRAINING,
    ("kubeflow.org", "XGBoostJob"): _TRAINING,
    ("kubeflow.org", "MPIJob"): _TRAINING,
    ("sparkoperator.k8s.io", "SparkApplication"): OwnEnd(
        ttl=(_path("spec.timeToLiveSeconds"),), finished=(_path("status.terminationTime"),)
    ),
}
"""By group and kind. A kind that is not here, or an object without the field, has no end of its own."""
