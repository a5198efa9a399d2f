"""Tokens and passwords that are rotated, in time or too late: what is refused is told, and what is new is used."""

from __future__ import annotations

import secrets
import urllib.error
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import pytest
from tests.e2e.conftest import World
from tests.e2e.test_sources import PASSWORD, USER, authority, https, secret
from tests.e2e.test_sync import ready_at
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, drift, enforced, ready
from tests.kit.api import Api, condition, is_ready, says
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.pki import Authority
from tests.kit.cluster.processes import until
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp

__all__ = ["authority", "https"]
pytestmark = pytest.mark.cluster


class Tokens:
    """The token of the operator in a file, which is replaced as the kubelet does; each is taken until it is revoked."""

    def __init__(self, cluster: LocalCluster, api: Api, file: Path) -> None:
        self._cluster, self._api, self.file = cluster, copy(api), file
        self._taken: dict[str, str] = {}
        self.issue()

    def issue(self) -> None:
        """Write a new token."""
        bound, system = f"token-{secrets.token_hex(3)}", ("--namespace", SYSTEM)
        self._cluster.kubectl("create", "secret", "generic", bound, *system)
        options = ("--bound-object-kind=Secret", f"--bound-object-name={bound}")
        token = self._cluster.kubectl("create", "token", "setpoint", *options, *system)
        self._taken[bound] = token
        made = self.file.with_suffix(".new")
        made.write_text(token)
        made.replace(self.file)

    def rotate(self) -> None:
        """Write a new token, and let the server refuse those before."""
        old = dict(self._taken)
        self.issue()
        self._revoke(old)

    def revoke(self) -> None:
        """Let the server refuse all tokens, as if they had expired."""
        self._revoke(dict(self._taken))

    def _revoke(self, old: dict[str, str]) -> None:
        """Take away what tokens are bound to; the server remembers for some seconds whom it let in."""
        self._cluster.kubectl("delete", "secret", *old, "--namespace", SYSTEM)
        for bound, token in old.items():
            self._api._token = token
            until(self._refused, "a token that is refused", 60)
            del self._taken[bound]

    def _refused(self) -> bool:
        try:
            self._api.request("GET", "/api").close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 401
        return False


@pytest.fixture(scope="module")
def tokens(installed: LocalCluster, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(installed, api, tmp_path_factory.mktemp("token") / "token")


@pytest.fixture(scope="module")
def login(proxy: ApiProxy, tokens: Tokens) -> Path:
    return proxy.kubeconfig(token_file=tokens.file)


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    # Renewed every five seconds, and lost long after the token was refused.
    return {"SETPOINT_LEASE_DURATION": "60s"}


@pytest.fixture(autouse=True)
def valid(tokens: Tokens) -> Iterator[None]:
    """Whatever a test did, the next one finds a token that is taken."""
    yield
    tokens.issue()


def test_a_token_that_is_rotated_in_time(
    world: World, operator: Operator, proxy: ApiProxy, tokens: Tokens
) -> None:
    """The old one is refused some time after the file has the new one: nobody notices."""
    ready(world)
    pid = operator.pid
    tokens.rotate()
    proxy.cut_open()
    converged(world, commit(world, "2"), "2")
    enforced(world, "2")
    assert (operator.pid, operator.metric("setpoint_leader")) == (pid, 1)


def test_a_token_that_expired_and_comes_late(
    world: World, operator: Operator, proxy: ApiProxy, tokens: Tokens
) -> None:
    ready(world)
    before, said, pid = operator.refused(401), operator.logged(), operator.pid
    tokens.revoke()
    proxy.cut_open()
    until(lambda: operator.refused(401) > before, "a refused request", 60)
    assert "401" in operator.says("cannot acquire or renew the lease", said)
    drift(world)
    sha = commit(world, "2")
    operator.says("cannot write the status of", said)
    tokens.issue()
    converged(world, sha, "2")
    enforced(world, "2")
    assert (operator.pid, operator.metric("setpoint_leader")) == (pid, 1)


def test_a_start_without_a_token_that_is_taken(world: World, operator: Operator, tokens: Tokens) -> None:
    sha = ready(world)
    operator.stop()
    tokens.revoke()
    said = operator.logged()
    operator.start()
    assert "401" in operator.says("cannot read the list of kinds", said)
    assert not operator.ready()
    pid = operator.pid
    tokens.issue()
    until(operator.ready, "readiness", 60)
    world.until("Sync", "app", ready_at(sha))
    enforced(world)
    assert operator.pid == pid


def served(world: World, https: GitHttp, authority: Authority) -> str:
    """Bring a commit from a server that asks for a password; returns its id."""
    https.rules(world.namespace).basic(USER, PASSWORD)
    secret(world, username=USER, password=PASSWORD, ca_crt=authority.certificate)
    world.repo = https.repo(world.namespace)
    return ready(world, url=https.url(world.namespace), secretRef={"name": "login"})


def test_a_password_that_is_rotated_in_time(world: World, https: GitHttp, authority: Authority) -> None:
    """The Secret is read again when the server refuses what was known: the Source never says a thing."""
    served(world, https, authority)
    since = condition(world.api.get("Source", world.namespace, "src"))["lastTransitionTime"]
    secret(world, username=USER, password="another", ca_crt=authority.certificate)
    https.rules(world.namespace).basic(USER, "another")
    converged(world, commit(world, "2"), "2")
    source = world.api.get("Source", world.namespace, "src")
    assert is_ready(source)
    assert condition(source)["lastTransitionTime"] == since
    enforced(world, "2")


def test_a_password_that_is_rotated_late(world: World, https: GitHttp, authority: Authority) -> None:
    served(world, https, authority)
    https.rules(world.namespace).basic(USER, "another")
    sha = commit(world, "2")
    source = world.until("Source", "src", says("AuthenticationFailed"))
    assert "stays enforced" in condition(source)["message"]
    assert is_ready(world.api.get("Sync", world.namespace, "app"))
    world.announced("AuthenticationFailed", "src")
    enforced(world)
    secret(world, username=USER, password="another", ca_crt=authority.certificate)
    converged(world, sha, "2")
