"""What came of a check of a Source, and what a failure says of other commits and of another attempt (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from setpoint.api.formats import seconds
from setpoint.api.reasons import Problem, Reason
from setpoint.api.source import LONGEST_TIMEOUT


@dataclass(frozen=True, slots=True)
class Fetched:
    """A commit that was fetched: its revision, and what the status shows of it."""

    revision: str
    sha: str
    subject: str
    author: str
    time: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of one check of a Source as it was at a `generation`, by which a request is answered.

    `own`: why asking the remote failed; `older`: why an older commit cannot be fetched now. `interval` is in seconds.
    """

    generation: int
    requested: str | None
    fetched: Fetched | None = None
    """The commit; None where nothing new is known."""
    own: Problem | None = None
    suspended: bool = False
    older: Problem | None = None
    interval: float = 60.0
    held: bool = True
    """Whether the last good commit is in the cache, so that what drifts can be put back."""
    note: str = ""
    """What is said in any case, such as that a field does not count as it stands."""

    @property
    def problem(self) -> Problem | None:
        """What is reported of both."""
        return self.own or self.older


# What keeps any commit from being fetched, so that an older one need not be tried.
OUTAGES = (
    Reason.HostUnreachable,
    Reason.HostDenied,
    Reason.AuthenticationFailed,
    Reason.CertificateInvalid,
    Reason.CacheFull,
)


def limit_of(timeout: str) -> float:
    """Return the limit of one Git operation in seconds: a Source's timeout, or the longest one that there is."""
    return min(seconds(timeout), seconds(LONGEST_TIMEOUT))


def limit_note(timeout: str) -> str:
    """Return what is said of a timeout that is not kept, as it is too long; nothing of any other."""
    if limit_of(timeout) == seconds(timeout):
        return ""
    return f"spec.timeout {timeout} is longer than {LONGEST_TIMEOUT}, which is the limit that counts"


def unasked(body: Mapping[str, Any], *, held: bool) -> CheckResult:
    """Return what is told where a check cannot be made as the worker is away: it answers no request, and looked at no generation."""
    status = body.get("status") or {}
    why = Problem(
        Reason.WorkerGone,
        "the worker, which asks Git servers, is not there; the remote is asked when it is back",
    )
    suspended = bool((body.get("spec") or {}).get("suspend"))
    told = status.get("observedGeneration", 0), status.get("requested")
    return CheckResult(*told, own=why, suspended=suspended, held=held)


def outage_of(problem: Problem | None) -> Problem | None:
    """Return a problem if it is one of all commits."""
    return problem if problem is not None and problem.reason in OUTAGES else None


def final(problem: Problem, own: Problem | None) -> bool:
    """Return whether a commit need not be asked for again: where refs are listed well, one that is not found is gone."""
    if problem.reason is Reason.HostDenied:
        return False
    return not problem.transient or (own is None and problem.reason is Reason.RefNotFound)


def needs_only_time(problem: Problem) -> bool:
    """Return whether the next check may go well though no attempt before it will.

    A name may get another address, and a smaller commit may take the place of one that is over its budget.
    """
    return problem.reason in (Reason.HostDenied, Reason.TooLarge)
