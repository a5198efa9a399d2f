"""What a Source says when its remote fails, and that what was applied stays enforced meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.pki import LOCAL, Authority
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.gitssh import GitSsh
from tests.kit.servers.repo import Submodule

pytestmark = pytest.mark.cluster

USER, PASSWORD = "robot", "correct-horse-battery"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def https(
    cluster: Cluster, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GitHttp]:
    pair = authority.server("git", *LOCAL, cluster.host)
    with GitHttp(tmp_path_factory.mktemp("https"), tls=pair, host=cluster.host) as server:
        yield server


def secret(world: World, **data: str | Path) -> None:
    """Write Secret `login`; `ca_crt` stands for ca.crt, a path for the file's content."""
    texts = {
        k.replace("ca_crt", "ca.crt"): v if isinstance(v, str) else v.read_text() for k, v in data.items()
    }
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in texts.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}}
    world.apply({**body, "data": encoded})


def enforced(world: World, revision: str) -> None:
    """Assert that drift is still corrected to a revision's content."""
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "1"})
    assert world.status()["applied"]["revision"].endswith(revision)


def applied(world: World, **source: Any) -> str:
    """Bring one commit to the cluster; returns its id."""
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source(**source)
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    return sha


def at(sha: str):  # type: ignore[no-untyped-def]
    return lambda o: is_ready(o) and o["status"]["revision"].endswith(sha)


def test_a_host_that_is_unknown(world: World) -> None:
    world.source(url="https://git.invalid/app.git")
    world.until("Source", "src", says("HostUnreachable", "git.invalid"))
    world.sync()
    world.until("Sync", "app", says("SourceNotReady", "git.invalid"))


def test_the_api_server_is_no_git_server(world: World, proxy: ApiProxy) -> None:
    """A tenant must not find out by messages what answers there; and what it had goes on."""
    sha = applied(world)
    world.source(url=f"{proxy.url}/app.git")
    found = world.until("Source", "src", says("HostDenied", "it is the API server"))
    assert condition(found, "Ready")["message"] == (
        f"{proxy.url.removeprefix('https://')} may not be connected to: it is the API server; "
        f"settings.gitAllowedHosts does not list it; main@{sha[:7]} stays enforced"
    )
    world.source()
    world.until("Source", "src", at(sha))


def test_a_wrong_password_and_the_right_one(world: World, https: GitHttp, authority: Authority) -> None:
    name = world.namespace
    sha = https.repo(name).commit({"a.yaml": config("a", k="1")}, "First")
    https.rules(name).basic(USER, PASSWORD)
    secret(world, username=USER, password="wr0ng-one", ca_crt=authority.certificate)
    world.source(url=https.url(name), secretRef={"name": "login"})
    source = world.until("Source", "src", says("AuthenticationFailed"))
    assert "wr0ng-one" not in str((source or {})["status"])
    secret(world, username=USER, password=PASSWORD, ca_crt=authority.certificate)
    world.ask("Source", "src", "1")
    world.until("Source", "src", at(sha))


def test_a_secret_that_is_missing_or_unusable(world: World, https: GitHttp) -> None:
    world.source(url=https.url(world.namespace), secretRef={"name": "login"})
    world.until("Source", "src", says("SecretNotFound", "login"))
    secret(world, nonsense="1")
    world.ask("Source", "src", "1")
    world.until("Source", "src", says("SecretInvalid"))


def test_an_unknown_authority_and_the_known_one(world: World, https: GitHttp, authority: Authority) -> None:
    sha = https.repo(world.namespace).commit({"a.yaml": config("a", k="1")}, "First")
    world.source(url=https.url(world.namespace))
    world.until("Source", "src", says("CertificateInvalid"))
    secret(world, ca_crt=authority.certificate)
    world.source(url=https.url(world.namespace), secretRef={"name": "login"})
    world.until("Source", "src", at(sha))


def test_an_expired_certificate(world: World, authority: Authority, tmp_path: Path) -> None:
    host = world.cluster.host
    pair = authority.server("expired", host, expired=True)
    with GitHttp(tmp_path / "git", tls=pair, host=host) as server:
        server.repo("app").commit({"a.yaml": config("a", k="1")}, "First")
        secret(world, ca_crt=authority.certificate)
        world.source(url=server.url("app"), secretRef={"name": "login"})
        world.until("Source", "src", says("CertificateInvalid", "expired"))


def test_an_unknown_host_key_and_the_right_one(world: World, tmp_path: Path) -> None:
    with GitSsh(tmp_path / "git", tmp_path / "ssh", host=world.cluster.host) as server:
        sha = server.repo("app").commit({"a.yaml": config("a", k="1")}, "First")
        wrong = server.known_hosts_with(server.key("another"))
        secret(world, identity=server.identity, known_hosts=wrong)
        world.source(url=server.url("app"), secretRef={"name": "login"})
        world.until("Source", "src", says("HostKeyUnknown"))
        assert server.logins() == 0
        secret(world, identity=server.identity, known_hosts=server.known_hosts)
        world.source(url=server.url("app"), secretRef={"name": "login"}, timeout="30s")
        world.until("Source", "src", at(sha))
        world.api.delete("Source", world.namespace, "src")


def test_an_empty_repository(world: World) -> None:
    world.source()
    world.until("Source", "src", says("RepositoryEmpty"))
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.until("Source", "src", at(sha))


def test_a_ref_that_vanishes_leaves_the_last_good_commit_enforced(world: World) -> None:
    sha = applied(world)
    world.repo.delete_branch("main")
    world.repo.commit({"x": ""}, "Elsewhere", branch="other")
    source = world.until("Source", "src", says("RefNotFound", "main"))
    assert "stays enforced" in condition(source)["message"]
    enforced(world, sha)


def test_a_force_push_is_followed(world: World) -> None:
    applied(world)
    sha = world.repo.commit({"a.yaml": config("a", k="2")}, "Another history", orphan=True)
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "2"}


def test_tags_and_ranges_of_versions(world: World) -> None:
    first = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.repo.tag("v1.0.0", message="annotated")
    second = world.repo.commit({"a.yaml": config("a", k="2")}, "Second")
    world.repo.tag("v1.1.0")
    world.source(ref={"tag": "v1.0.0"})
    world.until("Source", "src", at(first))
    world.source(ref={"semver": "1.x"})
    world.until("Source", "src", at(second))
    third = world.repo.commit({"a.yaml": config("a", k="3")}, "Third")
    world.repo.tag("v2.0.0")
    world.repo.tag("v1.2.0")
    world.until("Source", "src", at(third))


def test_a_redirect_to_another_host_is_refused(world: World, https: GitHttp) -> None:
    sha = applied(world)
    world.git.rules(world.namespace).redirect = https.url(world.namespace)
    world.until("Source", "src", says("RedirectRefused"))
    assert https.ref_listings(world.namespace) == 0
    enforced(world, sha)


def test_a_sync_whose_source_is_missing(world: World) -> None:
    world.sync()
    world.until("Sync", "app", says("SourceNotFound", "src"))
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.until("Sync", "app", ready_at(sha))


def test_a_source_of_another_namespace_must_allow_it(world: World) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    body: Json = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Source"}
    body["metadata"] = {"name": "shared", "namespace": world.target}
    spec = {"url": world.git.url(world.namespace), "ref": {"branch": "main"}, "interval": "1s"}
    world.apply({**body, "spec": spec})
    world.sync(source={"name": "shared", "namespace": world.target})
    world.until("Sync", "app", says("SourceNotAllowed", "shared"))
    assert world.seek("ConfigMap", "a") is None
    world.apply({**body, "spec": {**spec, "allowedNamespaces": [world.namespace]}})
    world.until("Sync", "app", ready_at(sha))
    world.api.delete("Source", world.target, "shared")


def test_objects_stay_when_their_source_is_deleted(world: World) -> None:
    applied(world)
    world.api.delete("Source", world.namespace, "src")
    world.until("Sync", "app", says("SourceNotFound", "src"))
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}


def test_a_suspended_source_asks_nobody(world: World) -> None:
    sha = applied(world)
    world.source(suspend=True)
    world.until("Source", "src", says("Suspended"))
    asked = world.git.ref_listings(world.namespace)
    world.repo.commit({"a.yaml": config("a", k="2")}, "Second")
    world.ask("Source", "src", "1")
    world.until("Source", "src", lambda o: o and o["status"].get("requested") == "1")
    assert world.git.ref_listings(world.namespace) == asked
    enforced(world, sha)


def test_a_request_is_echoed_by_source_and_sync(world: World) -> None:
    applied(world, interval="1h")
    sha = world.repo.commit({"a.yaml": config("a", k="2")}, "Second")
    world.ask("Source", "src", "now")
    world.until("Source", "src", lambda o: at(sha)(o) and o["status"].get("requested") == "now")
    sha = world.repo.commit({"a.yaml": config("a", k="3")}, "Third")
    world.ask("Sync", "app", "now")
    found = world.until("Sync", "app", lambda o: o and o["status"].get("requested") == "now")
    assert ready_at(sha)(found)


def test_submodules_that_are_switched_on_and_off_at_one_commit(world: World) -> None:
    library = f"{world.namespace}-library"
    pinned = world.git.repo(library).commit({"b.yaml": config("b")})
    modules = f'[submodule "lib"]\n\tpath = app/lib\n\turl = ../{library}.git\n'
    files: dict[str, str | Submodule] = {
        ".gitmodules": modules,
        "app/lib": Submodule(pinned),
        "app/a.yaml": config("a"),
    }
    sha = world.repo.commit(files, "With a library")
    world.source()
    world.sync(path="app")
    sync = world.until("Sync", "app", ready_at(sha))
    assert condition(sync)["message"] == "1/1 healthy"
    for _ in range(2):
        world.source(submodules=True)
        world.until("ConfigMap", "b", lambda o: o is not None)
        world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["objects"] == 2)
        world.source(submodules=False)
        world.until("ConfigMap", "b", lambda o: o is None)
        world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["objects"] == 1)
