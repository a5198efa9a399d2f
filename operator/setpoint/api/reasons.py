"""All reasons in one table: conditions, Events, metrics and docs use the same words.

Each reason carries what it means and what to do; `docs/operations.md` is generated from it. Names are
CamelCase, as the Kubernetes API conventions ask of `condition.reason`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A machine-readable cause, with its meaning and its remedy (`meaning`, `action`, `transient`)."""

    meaning: str
    action: str
    transient: bool

    def __new__(cls, value: str, meaning: str, action: str, *kind: str) -> Self:
        """Make a member; a fourth word `transient` says that trying again may help by itself."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning, member.action, member.transient = meaning, action, "transient" in kind
        return member

    # --- all is well, or on its way
    Succeeded = "Succeeded", "Everything is as Git says, and healthy.", "Nothing."
    Progressing = (
        "Progressing",
        "Objects are applied, and some are still rolling out.",
        "Wait; the message names the first one that is not ready. After `spec.timeout` it counts as degraded.",
    )
    Suspended = (
        "Suspended",
        "`spec.suspend` is true: nothing is fetched, applied, corrected or pruned.",
        "Set `spec.suspend: false` to go on.",
    )
    Waiting = (
        "Waiting",
        "A stage waits for the one before: a CRD to be established, or what serves a webhook or an APIService to become healthy. Or an object is being deleted, and is made anew.",
        "Wait; the message says for what. If it never comes, look at that object.",
    )
    DependencyNotReady = (
        "DependencyNotReady",
        "A Sync in `spec.dependsOn` is not Ready, or does not exist.",
        "Look at that Sync; this one goes on by itself as soon as the other is Ready.",
    )
    Applied = "Applied", "A revision was written completely.", "Nothing."
    Adopted = (
        "Adopted",
        "An existing object that had no owner is now managed by this Sync.",
        "Nothing; the fields that Git does not set stay as they were.",
    )
    Pruned = "Pruned", "Objects that are no longer in Git were deleted.", "Nothing."
    ServerFields = (
        "ServerFields",
        "Manifests hold fields that the API server owns, as `kubectl get -o yaml` writes them; they were left out.",
        "Take them out of the file that the message names, or leave them: they change nothing.",
    )
    ControllerFields = (
        "ControllerFields",
        "Manifests set fields that a controller owns by contract, such as the rules of an aggregated ClusterRole; what the controller writes stays.",
        "Take them out of the file that the message names, or leave them: they change nothing.",
    )
    Duplicate = (
        "Duplicate",
        "Documents are there twice, word for word; each counts once.",
        "Remove one of the two that the message names.",
    )
    Orphaned = (
        "Orphaned",
        "A Sync ended and left its objects in the cluster.",
        "Delete them by hand if they are not wanted, or let another Sync take them over.",
    )
    HandedOver = "HandedOver", "An object moved from one Sync to another, without being deleted.", "Nothing."
    TakenBack = (
        "TakenBack",
        "An object that left the Git of one Sync was kept for another that has it in Git, which did not take it over within 10 minutes.",
        "Look at why the other Sync does not write it; it makes the object anew as soon as it can.",
    )
    Drift = (
        "Drift",
        "Somebody changed a managed object by hand.",
        "With `drift: Correct` it was put back and logged in `status.driftLog`; with `drift: Report` change Git or the object.",
    )
    Fetched = "Fetched", "A new commit was fetched.", "Nothing."
    Recovered = "Recovered", "What failed before works again.", "Nothing."
    Deleting = (
        "Deleting",
        "The Sync is being deleted and its objects are being removed in reverse order.",
        "Wait; the message names what is still there, and its finalizers.",
    )

    # --- a Source
    InvalidSpec = (
        "InvalidSpec",
        "A field of the spec cannot be used as it is.",
        "Correct the field that the message names.",
    )
    AuthenticationFailed = (
        "AuthenticationFailed",
        "The Git server refused the credentials.",
        "Check the Secret of `spec.secretRef`; the last good revision stays enforced.",
        "transient",
    )
    SecretNotFound = (
        "SecretNotFound",
        "The Secret of `spec.secretRef` does not exist or may not be read.",
        "Create it in the Source's namespace.",
        "transient",
    )
    SecretInvalid = (
        "SecretInvalid",
        "The Secret of `spec.secretRef` has no usable set of keys.",
        "Use username and password, bearerToken, or identity and known_hosts; `ca.crt` with any of them.",
        "transient",
    )
    HostKeyUnknown = (
        "HostKeyUnknown",
        "The SSH server's host key is not in `known_hosts`.",
        "Add the key to `known_hosts` after checking it; a changed key may be an attack.",
        "transient",
    )
    CertificateInvalid = (
        "CertificateInvalid",
        "The server's TLS certificate is expired, for another host, or signed by an unknown authority.",
        "Renew it, or put its authority into `ca.crt` of the Secret.",
        "transient",
    )
    HostUnreachable = (
        "HostUnreachable",
        "The Git server could not be reached: name not found, refused, or no answer in time.",
        "Check the URL and the network; the last good revision stays enforced.",
        "transient",
    )
    HostDenied = (
        "HostDenied",
        "Setpoint may not connect to the Git server: a list of hosts denies it, or its address is reserved (loopback, link-local, the metadata of a cloud, the API server).",
        "Use another server, or ask who runs Setpoint to list it; the message names the setting. It is tried again at each `spec.interval`; the last good revision stays enforced.",
    )
    RepositoryNotFound = (
        "RepositoryNotFound",
        "The server says that there is no such repository; many hosts say so too where rights are missing.",
        "Check the URL and the rights of the credentials.",
        "transient",
    )
    RepositoryEmpty = "RepositoryEmpty", "The repository has no commits.", "Push a first commit.", "transient"
    RefNotFound = (
        "RefNotFound",
        "The branch, tag, ref or commit does not exist (any more), or no tag fits the range.",
        "Correct `spec.ref` or push the ref; the last good revision stays enforced.",
        "transient",
    )
    RedirectRefused = (
        "RedirectRefused",
        "The server redirects to another scheme, host or port; credentials are not sent there.",
        "Put the final URL into `spec.url`.",
        "transient",
    )
    RepositoryUnsupported = (
        "RepositoryUnsupported",
        "The repository is in a format that Setpoint cannot read: SHA-256.",
        "Put the URL of a repository in SHA-1 into `spec.url`; or convert it, then annotate the Source with `setpoint.dev/requested`.",
    )
    GitFailed = (
        "GitFailed",
        "Git failed in another way; the message quotes the server.",
        "See the message; Setpoint retries by itself.",
        "transient",
    )
    CacheFull = (
        "CacheFull",
        "The cache volume is full or cannot be written.",
        "Enlarge `cache.size` of the chart, or remove Sources; what was fetched stays enforced.",
        "transient",
    )

    # --- a Sync, before anything is written
    SourceNotFound = (
        "SourceNotFound",
        "The Source does not exist.",
        "Create it, or correct `spec.source`; what was applied stays.",
        "transient",
    )
    SourceNotAllowed = (
        "SourceNotAllowed",
        "The Source is in another namespace, which does not allow this one.",
        "Add this namespace to the Source's `allowedNamespaces`.",
        "transient",
    )
    SourceNotReady = "SourceNotReady", "The Source has no revision yet.", "Look at the Source.", "transient"
    PathNotFound = (
        "PathNotFound",
        "`spec.path` does not exist in the commit, or leaves the repository.",
        "Correct the path; nothing was pruned.",
    )
    RenderFailed = (
        "RenderFailed",
        "The manifests cannot be read or built.",
        "The message names file, line and document; nothing was changed, the revision before stays enforced.",
    )
    Encrypted = (
        "Encrypted",
        "A file that SOPS encrypted would become an object as ciphertext; Setpoint does not decrypt yet.",
        "Take the file out of the manifests, or annotate the object `setpoint.dev/encrypted: keep` in Git if it is meant to hold ciphertext.",
    )
    HelmUnsupported = (
        "HelmUnsupported",
        "The path holds a Chart.yaml, and Helm charts are not supported yet.",
        "Render the chart into plain manifests, or use Kustomize.",
    )
    ServiceAccountRequired = (
        "ServiceAccountRequired",
        "`spec.serviceAccountName` is empty outside an admin namespace.",
        "Name a ServiceAccount of this namespace that has the rights the manifests need.",
    )
    ServiceAccountNotFound = (
        "ServiceAccountNotFound",
        "The ServiceAccount of the Sync does not exist.",
        "Create it in the Sync's namespace.",
        "transient",
    )
    Contested = (
        "Contested",
        "Another Sync owns the object; it is neither overwritten nor pruned.",
        "Remove it from one of the two; it is handed over without being deleted.",
        "transient",
    )
    Foreign = (
        "Foreign",
        "The object belongs to another tool (Helm, Flux or Argo CD).",
        'Annotate the manifest or the object with `setpoint.dev/adopt: "true"` to take it over.',
    )
    Invalid = (
        "Invalid",
        "The API server rejects the object.",
        "Correct the manifest; the message has file, object and field.",
    )
    Immutable = (
        "Immutable",
        "A field that may not change was changed.",
        "Change it back, or delete the object so that Setpoint creates it again, or give it a new name.",
    )
    KindUnknown = (
        "KindUnknown",
        "The cluster has no such kind (yet).",
        "Install its CRD, with a Sync that this one depends on.",
        "transient",
    )
    NamespaceMissing = (
        "NamespaceMissing",
        "A namespaced object names no namespace, or the namespace does not exist.",
        "Set `metadata.namespace`, `spec.targetNamespace`, or `spec.createNamespace: true`.",
        "transient",
    )
    NamespaceTerminating = (
        "NamespaceTerminating",
        "The namespace is being deleted.",
        "Wait until it is gone, or take its objects out of Git.",
        "transient",
    )
    Forbidden = (
        "Forbidden",
        "The identity of the Sync may not do this.",
        "Grant the right to the ServiceAccount; the message names verb, kind and object.",
        "transient",
    )
    AdmissionDenied = (
        "AdmissionDenied",
        "An admission webhook or policy denies the object.",
        "Correct the manifest, or ask whoever owns the policy; the message quotes it.",
        "transient",
    )
    WebhookFailed = (
        "WebhookFailed",
        "A webhook (admission, conversion, authorization) could not be called.",
        "Look at the service of the webhook.",
        "transient",
    )
    TooLarge = (
        "TooLarge",
        "An object is larger than the API server takes (about 1.5 MB), or what the commit holds is over a budget: files, their size, YAML values, objects, bytes of a fetch. The message has the figure, the limit and its setting.",
        "Split it: do what the message says, or raise the setting. What was applied before stays enforced meanwhile.",
    )

    # --- a Sync, while or after writing
    OwnerMissing = (
        "OwnerMissing",
        "`metadata.ownerReferences` name an owner that does not exist with that uid: the garbage collector would delete the object.",
        "Take the owner references out of the manifest, as an export (`kubectl get -o yaml`) has them; an owner gets a new uid when it is created again.",
    )
    ApplyFailed = (
        "ApplyFailed",
        "Some objects could not be written.",
        "See `status.differences`; Setpoint retries by itself.",
        "transient",
    )
    ApiUnavailable = (
        "ApiUnavailable",
        "The API server does not answer, or answers with an error of its own.",
        "Nothing; Setpoint retries by itself.",
        "transient",
    )
    InternalError = (
        "InternalError",
        "An internal error of Setpoint ended the run; what was applied stays.",
        "Report it, with the lines `work failed unexpectedly` of the operator's log; Setpoint retries by itself.",
        "transient",
    )
    WorkerGone = (
        "WorkerGone",
        "The worker, which reads repositories and renders, is not there; what was applied stays enforced.",
        "Nothing, if it comes back by itself; else look at the container `worker` of the operator's pod, why it ended (`kubectl describe pod`) and what its log says.",
        "transient",
    )
    RenderCrashed = (
        "RenderCrashed",
        "The worker ended again and again while it was at work on this; what was applied stays.",
        "Look for what is very large, deep or of an unusual form in the commit; Setpoint tries again later, apart from all others.",
        "transient",
    )
    Degraded = (
        "Degraded",
        "An object is applied and not healthy.",
        "The message names the object and quotes its status; fix it by a commit.",
    )
    TimedOut = (
        "TimedOut",
        "The revision was not healthy within `spec.timeout`.",
        "The message names the objects that are not ready; fix them by a commit.",
    )
    Refused = (
        "Refused",
        "Setpoint refuses to delete what the commit dropped: too many objects, a protected kind (a Namespace, a CRD, a volume, a claim, a Sync), or everything.",
        "If it is meant: raise `spec.pruneLimit`, or annotate the object `setpoint.dev/prune: allow`.",
    )
    PruneWaiting = (
        "PruneWaiting",
        "Objects are no longer in Git and wait for something before they are deleted.",
        "Wait; the message says for what.",
        "transient",
    )
    Fight = (
        "Fight",
        "Another writer undoes every correction; Setpoint backs off.",
        "Stop the manager that the message names, or add the rule at the end of the message to `spec.ignore`.",
        "transient",
    )
    Missing = (
        "Missing",
        "The object is not in the cluster.",
        "It comes back with the next apply; if not, the message says why.",
        "transient",
    )
    OutOfSync = (
        "OutOfSync",
        "The object differs from Git.",
        "See the patch; with `drift: Report` it stays so until Git or the object changes.",
    )


def well_formed(text: str) -> str:
    """The text with U+FFFD for each lone surrogate: names of files need not be UTF-8, what the API takes must be."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


@dataclass(eq=False)
class Problem(Exception):
    """A failure that a person must understand: why (`reason`), and one sentence with what, where, what to do.

    `transient`: trying again without any change may help (defaults to what the reason says).
    Messages never hold a secret value, a stack trace or a Python type name.
    """

    reason: Reason
    message: str
    retry: bool | None = None

    def __post_init__(self) -> None:
        """Make it something that can be told: a message may name a file."""
        self.message = well_formed(self.message)

    @property
    def transient(self) -> bool:
        """Whether to try again by itself, with back-off."""
        return self.reason.transient if self.retry is None else self.retry

    def within(self, words: str) -> Self:
        """Return the same failure with words in front of its message, of what it happened in."""
        return type(self)(self.reason, f"{words}{self.message}", self.retry)

    def __str__(self) -> str:
        """The message alone: it is written for a person."""
        return self.message
