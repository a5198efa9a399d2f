"""Runs one operation on one remote, with our rules for trust and credentials (shell, in the child process).

In: a `Repository` and what to do with the connected pygit2 remote. Out: its result, or a Problem.
HTTP goes through `relay`, SSH and files are libgit2's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import pygit2
from pygit2.enums import CredentialType

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.git.errors import translate, unauthorized
from setpoint.git.refs import Head
from setpoint.git.remotes import Repository
from setpoint.git.worker.relay import Relay
from setpoint.runtime.proxies import proxy_for

T = TypeVar("T")


class Callbacks(pygit2.RemoteCallbacks):
    """Returns an SSH key once, trusts no one who is not proven, and stops what would not fit into the cache."""

    def __init__(self, repository: Repository, max_bytes: int, budgets: Budgets) -> None:
        """`max_bytes`: the largest pack that the cache has room for."""
        self._budgets = budgets
        super().__init__()
        self._remote, self._credentials, self._max_bytes = (
            repository.remote,
            repository.credentials,
            max_bytes,
        )
        self._asked = False
        self.whole = False
        """Whether the history comes whole, as the server cannot give a part of it."""

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.Username | pygit2.Keypair:
        """Return the SSH key; to be asked again means that it was refused."""
        if self._remote.scheme != "ssh":
            raise unauthorized(self._remote, given=False)
        if allowed_types == CredentialType.USERNAME:
            return pygit2.Username(self._remote.user)
        if self._asked or not allowed_types & CredentialType.SSH_MEMORY:
            raise unauthorized(self._remote)
        self._asked = True
        mine = self._credentials
        return pygit2.KeypairFromMemory(self._remote.user, "", mine.identity, mine.passphrase)

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        """Believe libgit2, whose default would let any SSH host key pass."""
        return valid

    def transfer_progress(self, stats: pygit2.remotes.TransferProgress) -> None:
        """Stop a pack that is over its budget, or larger than the cache."""
        self._budgets.check("max_fetch_objects", stats.total_objects, self._remote.url)
        self._budgets.check("max_fetch_size", stats.received_bytes, self._remote.url, counted=False)
        if stats.received_bytes > self._max_bytes:
            text = f"{self._remote.url} needs more than the {self._max_bytes // 2**20} MiB that the cache has; enlarge it"
            why = " (the server does not support shallow fetches, so the whole history is needed)"
            raise Problem(Reason.CacheFull, text + (why if self.whole else ""))


def on_remote(
    repository: Repository,
    local: pygit2.Repository,
    action: Callable[[pygit2.Remote, Callbacks], T],
    *,
    max_bytes: int = 2**62,
    budgets: Budgets = DEFAULTS,
) -> T:
    """Run `action` with a remote of `local` and its callbacks; every failure is a Problem."""
    remote, callbacks = repository.remote, Callbacks(repository, max_bytes, budgets)
    if remote.scheme == "ssh" and not (
        repository.credentials.identity and repository.credentials.known_hosts
    ):
        raise Problem(Reason.SecretInvalid, f"{remote.url} needs a Secret with identity and known_hosts")
    if remote.scheme not in ("https", "http"):
        return _run(repository, local, action, callbacks, remote.url)
    with Relay(repository, proxy_for(remote.url, os.environ)) as relay:
        try:
            return _run(repository, local, action, callbacks, relay.url)
        except Problem as problem:
            # libgit2 only knows that the relay said no.
            raise relay.problem or problem from None


def list_heads(repository: Repository, local: pygit2.Repository) -> tuple[list[Head], str | None]:
    """Ask for the refs (ls-remote); give them, and what HEAD points to if the server says so."""
    found = on_remote(repository, local, lambda there, callbacks: there.list_heads(callbacks=callbacks))
    target = next((head.symref_target for head in found if head.name == "HEAD"), None)
    return [Head(head.name, str(head.oid)) for head in found if head.name], target or None


def _run(
    repository: Repository,
    local: pygit2.Repository,
    action: Callable[[pygit2.Remote, Callbacks], T],
    callbacks: Callbacks,
    url: str,
) -> T:
    try:
        return action(local.remotes.create_anonymous(url), callbacks)
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise translate(error, repository) from None
