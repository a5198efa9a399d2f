"""Runs one operation on one remote, with our rules for trust and credentials (shell, in the child process).

In: a `Repository`, where Git may connect to, and what to do with the connected pygit2 remote. Out: its result, or a Problem.
HTTP goes through `relay`; SSH is libgit2's own, but it is given an address in place of the name (`egress`). So are files.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pygit2
from pygit2.enums import CredentialType

from setpoint.api.addresses import Address
from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem, Reason
from setpoint.git.refs import Head
from setpoint.git.remotes import Remote, Repository
from setpoint.git.worker import egress
from setpoint.git.worker.errors import translate, unauthorized, unreachable
from setpoint.git.worker.relay import Relay
from setpoint.runtime.proxies import proxy_for

T = TypeVar("T")
_VOUCHING = threading.Lock()


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
            text = f"{self._remote.url} needs more than the {self._max_bytes // 2**20} MiB that the cache has room for; raise cache.size"
            why = " (the server does not support shallow fetches, so the whole history is needed)"
            raise Problem(Reason.CacheFull, text + (why if self.whole else ""))


def on_remote(
    repository: Repository,
    local: pygit2.Repository,
    action: Callable[[pygit2.Remote, Callbacks], T],
    rules: HostRules,
    *,
    max_bytes: int = 2**62,
    budgets: Budgets = DEFAULTS,
) -> T:
    """Run `action` with a remote of `local` and its callbacks; every failure is a Problem."""
    remote, made = repository.remote, partial(Callbacks, repository, max_bytes, budgets)
    if remote.scheme == "ssh":
        return _over_ssh(repository, rules, lambda url: _run(repository, local, action, made(), url))
    if remote.scheme == "file":
        return _run(repository, local, action, made(), remote.url)
    with Relay(repository, proxy_for(remote.url, os.environ), rules) as relay:
        try:
            return _run(repository, local, action, made(), relay.url)
        except Problem as problem:
            # libgit2 only knows that the relay said no.
            raise relay.problem or problem from None


def list_heads(
    repository: Repository, local: pygit2.Repository, rules: HostRules
) -> tuple[list[Head], str | None]:
    """Ask for the refs (ls-remote); give them, and what HEAD points to if the server says so."""
    found = on_remote(
        repository, local, lambda there, callbacks: there.list_heads(callbacks=callbacks), rules
    )
    target = next((head.symref_target for head in found if head.name == "HEAD"), None)
    return [Head(head.name, str(head.oid)) for head in found if head.name], target or None


def _over_ssh(repository: Repository, rules: HostRules, run: Callable[[str], T]) -> T:
    """Run with the URL of one address of the server after the other, until one of them answers."""
    remote = repository.remote
    if not (repository.credentials.identity and repository.credentials.known_hosts):
        raise Problem(Reason.SecretInvalid, f"{remote.url} needs a Secret with identity and known_hosts")
    try:
        *others, last = egress.addresses(remote, rules)
        with _VOUCHING:
            egress.vouch(Path(pygit2.settings.homedir or ""), repository, [*others, last])
    except socket.gaierror:
        raise unreachable(remote, "its name cannot be resolved") from None
    for each in others:
        try:
            return _at(remote, each, run)
        except Problem as problem:
            if problem.reason is not Reason.HostUnreachable:
                raise
    return _at(remote, last, run)


def _at(remote: Remote, address: Address, run: Callable[[str], T]) -> T:
    if remote.path.startswith("/") or address.version == 4:
        return run(remote.at(str(address)).url)
    # A path in the login folder needs the short form of a URL, in which libgit2 reads no IPv6 address.
    try:
        with egress.bridged(address, remote.port) as port:
            return run(f"[{remote.user}@{egress.LOOPBACK}:{port}]:{remote.path}")
    except OSError as error:
        raise unreachable(remote, str(error.strerror or error).lower()) from None


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
