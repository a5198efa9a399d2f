"""Turns errors of Git servers and libgit2 into a `Problem` that people understand (no I/O).

libgit2 distinguishes most failures only by their text. The texts are those of 1.9, each seen from a real server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pygit2

from setpoint.api.reasons import Problem, Reason
from setpoint.git.credentials import knows_host
from setpoint.git.remotes import Remote, Repository
from setpoint.runtime.disk import cache_problem

_FULL = re.compile(
    r"no space left|read-only file system|disk quota exceeded|file too large|permission denied"
    r"|operation not permitted|not a directory",
    re.IGNORECASE,
)
_UNREACHABLE: Sequence[tuple[str, str]] = (
    ("failed to resolve address", "its name cannot be resolved"),
    ("connection refused", "connection refused"),
    ("no route to host", "no route to it"),
    ("network is unreachable", "the network is unreachable"),
    ("timed out", "no answer in time"),
    ("connection reset", "it closed the connection"),
    ("early eof", "it closed the connection"),
    ("unexpected eof", "it closed the connection"),
    ("failed to connect", "no connection"),
    ("error receiving", "it closed the connection"),
    ("failed to start ssh session", "it does not speak SSH, or no algorithm in common"),
    ("failed to receive", "it closed the connection"),
    ("failed getting banner", "it does not speak SSH"),
    ("socket", "it closed the connection"),
)


def translate(error: Exception, repository: Repository) -> Problem:
    """Return the Problem of an exception that libgit2 or the disk ended an operation with."""
    remote = repository.remote
    if isinstance(error, Problem):
        return error
    if isinstance(error, OSError):
        return cache_problem(error)
    text = " ".join(str(error).split())
    if _FULL.search(text) and "authenticat" not in text and remote.scheme != "file":
        return Problem(Reason.CacheFull, f"the cache volume cannot be written: {text}")
    if remote.scheme == "ssh" and (found := _ssh(error, text.lower(), repository)):
        return found
    if remote.scheme == "file" and ("failed to resolve path" in text or "could not find repository" in text):
        return not_found(remote)
    if "unknown remote object format" in text:
        return unsupported(remote)
    if "content-type" in text or "invalid content" in text:
        return Problem(Reason.GitFailed, f"{remote.url} does not answer as a Git repository; check spec.url")
    for part, why in _UNREACHABLE:
        if part in text.lower():
            return unreachable(remote, why)
    return Problem(Reason.GitFailed, f"{remote.place}: {text}")


def http_problem(status: int, remote: Remote, *, given: bool) -> Problem:
    """Return what an HTTP status means; `given`: whether there were credentials."""
    if status in (401, 403):
        return unauthorized(remote, given=given)
    if status in (404, 410):
        return not_found(remote)
    if status in (502, 503, 504):
        return unreachable(remote, f"it answers {status}")
    if status == 429:
        return Problem(
            Reason.GitFailed, f"{remote.place} answers 429: it is asked too often; raise spec.interval"
        )
    return Problem(Reason.GitFailed, f"{remote.place} answers {status} for {remote.url}")


def untrusted(remote: Remote, why: str) -> Problem:
    """Return the problem that a TLS server could not prove who it is."""
    return Problem(Reason.CertificateInvalid, f"the certificate of {remote.place} is not valid: {why}")


def unauthorized(remote: Remote, *, given: bool = True) -> Problem:
    """Return the problem that the server wants other credentials, or any."""
    if given:
        return Problem(
            Reason.AuthenticationFailed,
            f"{remote.place} refuses the credentials of the Secret for {remote.url}",
        )
    return Problem(
        Reason.AuthenticationFailed,
        f"{remote.url} asks for credentials and spec.secretRef gives none; "
        "many hosts answer so too where the repository does not exist",
    )


def redirected(remote: Remote, target: str) -> Problem:
    """Return the problem that the server sends us elsewhere."""
    return Problem(
        Reason.RedirectRefused,
        f"{remote.url} redirects to {target}, another scheme, host or port; if it moved, put the new URL into spec.url",
    )


def unreachable(remote: Remote, why: str) -> Problem:
    """Return the problem that there is no connection."""
    return Problem(Reason.HostUnreachable, f"{remote.place} cannot be reached: {why}")


def denied(remote: Remote, why: str) -> Problem:
    """Return the problem that we may not connect to a server; `why` is in the words of `api.hosts`."""
    return Problem(Reason.HostDenied, f"{remote.place} may not be connected to: {why}")


def not_found(remote: Remote) -> Problem:
    """Return the problem that the server knows no such repository, or does not want to show it."""
    return Problem(
        Reason.RepositoryNotFound,
        f"{remote.url} does not exist, or the credentials may not see it (many hosts answer the same to both)",
    )


def unsupported(remote: Remote) -> Problem:
    """Return the problem that libgit2 cannot read the repository's format."""
    text = f"{remote.url} is in SHA-256 format, which Setpoint cannot read; convert it to SHA-1 or use another remote"
    return Problem(Reason.RepositoryUnsupported, text)


def _ssh(error: Exception, text: str, repository: Repository) -> Problem | None:
    remote = repository.remote
    if isinstance(error, pygit2.CertificateError):
        listed = knows_host(repository.credentials.known_hosts, remote.host, remote.port)
        what = (
            "is not the one that known_hosts of the Secret lists"
            if listed
            else "is not in known_hosts of the Secret"
        )
        return Problem(
            Reason.HostKeyUnknown, f"the host key of {remote.place} {what}; check it, then list it there"
        )
    if "private key" in text or "public key from" in text:
        return Problem(
            Reason.SecretInvalid,
            "identity of the Secret cannot be opened: its password is wrong or missing, or its format is unknown",
        )
    if isinstance(error, pygit2.AuthError) or "authenticate ssh session" in text:
        return unauthorized(remote)
    if "could not read refs" in text or "does not appear to be a git repository" in text:
        return not_found(remote)
    return None
