"""The result of a check of a remote, and what a failure means for other commits and attempts (pure)."""

from __future__ import annotations

from dataclasses import dataclass

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
    """The result of one check of a Source. `fetched` is None where nothing new is known.

    `held`: whether the last good commit is in the cache, so that what drifts can be put back. `note`: what is said
    in any case, such as that a field does not count as it stands.
    """

    generation: int
    requested: str | None
    fetched: Fetched | None
    problem: Problem | None
    suspended: bool
    held: bool = True
    note: str = ""


# What keeps any commit from being fetched, so that an older one need not be tried.
OUTAGES = (Reason.HostUnreachable, Reason.AuthenticationFailed, Reason.CertificateInvalid, Reason.CacheFull)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a remote: why it failed (its `own` problem), and why an older commit cannot be fetched now.

    `interval` is in seconds; `note` is added to the message, whatever the result.
    """

    interval: float
    suspended: bool = False
    own: Problem | None = None
    older: Problem | None = None
    note: str = ""

    @property
    def problem(self) -> Problem | None:
        """The problem to report for both."""
        return self.own or self.older


def limit_of(timeout: str) -> float:
    """Return the limit of one Git operation in seconds: a Source's timeout, or the longest one that there is."""
    return min(seconds(timeout), seconds(LONGEST_TIMEOUT))


def limit_note(timeout: str) -> str:
    """Return what is said of a timeout that is not kept, as it is too long; nothing of any other."""
    if limit_of(timeout) == seconds(timeout):
        return ""
    return f"spec.timeout {timeout} is longer than {LONGEST_TIMEOUT}, which is the limit that counts"


def outage_of(problem: Problem | None) -> Problem | None:
    """Return a problem if it is one of all commits."""
    return problem if problem is not None and problem.reason in OUTAGES else None


def final(problem: Problem, own: Problem | None) -> bool:
    """Return whether a commit need not be asked for again: where refs are listed well, one that is not found is gone."""
    return not problem.transient or (own is None and problem.reason is Reason.RefNotFound)
