"""SSH: with which key we come in, and which server we believe."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from tests.git.conftest import MAIN, TIMEOUT, MakeWorld, World, at, with_secret
from tests.kit.servers.gitssh import GitSsh
from tests.kit.servers.repo import Submodule

from setpoint.api.reasons import Problem, Reason
from setpoint.git.remotes import Repository
from setpoint.wall.messages import GitRef

pytestmark = pytest.mark.asyncio
PASSPHRASE = "open sesame"


def keyed(
    server: GitSsh, name: str = "app", key: Path | None = None, hosts: str | None = None, **more: str
) -> Repository:
    known = server.known_hosts if hosts is None else hosts
    return with_secret(server.url(name), identity=key or server.identity, known_hosts=known, **more)


def in_pem(key: Path) -> Path:
    """Rewrite a key into OpenSSL's format."""
    command = ["ssh-keygen", "-q", "-p", "-m", "PEM", "-P", "", "-N", "", "-f", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    assert "BEGIN RSA PRIVATE KEY" in key.read_text()
    return key


async def test_a_commit_comes_by_ssh_and_then_the_next_one(world: World, git_ssh: GitSsh) -> None:
    repo = git_ssh.repo("app")
    first = repo.commit({"a.yaml": "a: 1\n"})
    repository = keyed(git_ssh)
    assert (await world.check(repository)).sha == first
    second = repo.commit({"a.yaml": "a: 2\n"})
    assert (await world.check(repository)).revision == f"main@sha1:{second}"
    assert world.read(repository, second, "a.yaml") == b"a: 2\n"
    assert world.read(repository, first, "a.yaml") == b"a: 1\n"


@pytest.mark.parametrize("form", ["ed25519", "rsa", "rsa in PEM", "ecdsa"])
async def test_every_kind_of_key(world: World, git_ssh: GitSsh, form: str) -> None:
    sha = git_ssh.repo("app").commit({"a.yaml": ""})
    key = git_ssh.key("mine", kind=form.split(maxsplit=1)[0])
    git_ssh.authorize(key)
    if form.endswith("PEM"):
        in_pem(key)
    assert (await world.check(keyed(git_ssh, key=key))).sha == sha


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
async def test_an_encrypted_key(world: World, git_ssh: GitSsh, kind: str) -> None:
    sha = git_ssh.repo("app").commit({"a.yaml": ""})
    key = git_ssh.key("locked", kind=kind, passphrase=PASSPHRASE)
    git_ssh.authorize(key)
    with pytest.raises(Problem, match="add its passphrase as password"):
        keyed(git_ssh, key=key)
    problem = await world.fails(keyed(git_ssh, key=key, password="a wrong one"))
    assert problem.reason in (Reason.SecretInvalid, Reason.AuthenticationFailed)
    assert "a wrong one" not in problem.message
    assert (await world.check(keyed(git_ssh, key=key, password=PASSPHRASE))).sha == sha


async def test_a_key_that_the_server_does_not_know(world: World, git_ssh: GitSsh) -> None:
    git_ssh.repo("app").commit({"a.yaml": ""})
    problem = await world.fails(keyed(git_ssh, key=git_ssh.key("stranger")))
    assert problem.reason is Reason.AuthenticationFailed
    assert git_ssh.logins() == 0


async def test_a_host_key_that_is_not_listed(world: World, git_ssh: GitSsh) -> None:
    git_ssh.repo("app").commit({"a.yaml": ""})
    others = "git.example.org " + git_ssh.known_hosts.split(" ", 1)[1]
    problem = await world.fails(keyed(git_ssh, hosts=others))
    assert problem.reason is Reason.HostKeyUnknown
    assert "is not in known_hosts" in problem.message
    assert f"127.0.0.1:{git_ssh.port}" in problem.message
    assert git_ssh.logins() == 0


async def test_a_host_key_that_changed(world: World, git_ssh: GitSsh) -> None:
    git_ssh.repo("app").commit({"a.yaml": ""})
    changed = git_ssh.known_hosts_with(git_ssh.key("another"))
    problem = await world.fails(keyed(git_ssh, hosts=changed))
    assert problem.reason is Reason.HostKeyUnknown
    assert "is not the one" in problem.message
    assert git_ssh.logins() == 0


async def test_the_right_port_counts(world: World, git_ssh: GitSsh) -> None:
    git_ssh.repo("app").commit({"a.yaml": ""})
    key = git_ssh.known_hosts.split(" ", 1)[1]
    problem = await world.fails(keyed(git_ssh, hosts=f"[127.0.0.1]:{git_ssh.port + 1} {key}"))
    assert problem.reason is Reason.HostKeyUnknown
    assert git_ssh.logins() == 0


async def test_hashed_known_hosts_with_comments_and_others(
    world: World, git_ssh: GitSsh, tmp_path: Path
) -> None:
    sha = git_ssh.repo("app").commit({"a.yaml": ""})
    file = tmp_path / "known_hosts"
    file.write_text(git_ssh.known_hosts)
    subprocess.run(["ssh-keygen", "-H", "-f", str(file)], check=True, capture_output=True)
    hashed = file.read_text()
    assert "127.0.0.1" not in hashed
    text = f"# our servers\n\ngit.example.org {git_ssh.known_hosts.split(' ', 1)[1]}{hashed}"
    assert (await world.check(keyed(git_ssh, hosts=text))).sha == sha


async def test_two_sources_do_not_trust_each_others_host_keys(world: World, git_ssh: GitSsh) -> None:
    """libgit2 reads known_hosts from one place for the whole process."""
    sha = git_ssh.repo("app").commit({"a.yaml": ""})
    wrong = git_ssh.known_hosts_with(git_ssh.key("another"))
    assert (await world.check(keyed(git_ssh))).sha == sha
    assert (await world.fails(keyed(git_ssh, hosts=wrong))).reason is Reason.HostKeyUnknown
    assert (await world.check(keyed(git_ssh))).sha == sha
    assert len(world.pids()) == 2


async def test_no_secret_is_said_before_anybody_is_asked(world: World, git_ssh: GitSsh) -> None:
    git_ssh.repo("app").commit({"a.yaml": ""})
    problem = await world.fails(at(git_ssh.url("app")))
    assert problem.reason is Reason.SecretInvalid
    assert "identity and known_hosts" in problem.message
    assert git_ssh.logins() == 0


async def test_a_repository_that_is_not_there(world: World, git_ssh: GitSsh) -> None:
    problem = await world.fails(keyed(git_ssh, "absent"))
    assert problem.reason is Reason.RepositoryNotFound
    assert "may not see it" in problem.message


async def test_an_empty_repository_and_a_branch_that_is_not_there(world: World, git_ssh: GitSsh) -> None:
    repo = git_ssh.repo("app")
    assert (await world.fails(keyed(git_ssh))).reason is Reason.RepositoryEmpty
    repo.commit({"a.yaml": ""})
    assert (await world.fails(keyed(git_ssh), GitRef(branch="gone"))).reason is Reason.RefNotFound


async def test_what_does_not_speak_ssh(world: World, git_ssh: GitSsh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        url = f"ssh://git@127.0.0.1:{port}/app.git"
        hosts = git_ssh.known_hosts.replace(str(git_ssh.port), str(port), 1)
        problem = await world.fails(with_secret(url, identity=git_ssh.identity, known_hosts=hosts))
        thread.join()
    assert problem.reason is Reason.HostUnreachable
    problem = await world.fails(with_secret(url, identity=git_ssh.identity, known_hosts=hosts))
    assert problem.reason is Reason.HostUnreachable


async def test_the_short_form_of_the_url_is_relative_to_the_login_folder(
    world: World, git_ssh: GitSsh
) -> None:
    """`user@host:path` cannot name a port, so what is asked is seen only up to the connection."""
    repository = with_secret(
        "git@127.0.0.1:app.git", identity=git_ssh.identity, known_hosts=git_ssh.known_hosts
    )
    assert (repository.remote.port, repository.remote.path) == (22, "app.git")
    problem = await world.fails(repository)
    assert problem.reason in (Reason.HostUnreachable, Reason.HostKeyUnknown)


async def test_a_submodule_of_the_same_server_comes_with_the_same_key(world: World, git_ssh: GitSsh) -> None:
    pinned = git_ssh.repo("lib", any_sha=True).commit({"lib.yaml": "l: 1\n"})
    modules = '[submodule "lib"]\n\tpath = lib\n\turl = ../lib.git\n'
    sha = git_ssh.repo("app").commit({"a.yaml": "", ".gitmodules": modules, "lib": Submodule(pinned)})
    repository = keyed(git_ssh)
    assert (await world.check(repository, submodules=True)).sha == sha
    assert world.read(repository, sha, "lib/lib.yaml", submodules=True) == b"l: 1\n"


async def test_the_key_is_on_no_disk_in_no_argument_and_in_no_environment(
    make_world: MakeWorld, git_ssh: GitSsh, tmp_path: Path
) -> None:
    git_ssh.repo("app").commit({"a.yaml": ""})
    key = git_ssh.key("locked", passphrase=PASSPHRASE)
    git_ssh.authorize(key)
    world = make_world(cache=tmp_path / "own-cache")
    await world.check(keyed(git_ssh, key=key, password=PASSPHRASE))
    secrets = [PASSPHRASE.encode(), key.read_bytes().splitlines()[1]]
    (pid,) = world.pids()
    seen = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    (session,) = (tmp_path / "own-cache" / "run").iterdir()
    while len([each for each in session.iterdir() if each.is_dir()]) > 1:
        await asyncio.sleep(0)  # the fetcher is gone, and its home is being removed
    seen += [each.read_bytes() for each in (tmp_path / "own-cache").rglob("*") if each.is_file()]
    home = dict(each.split(b"=", 1) for each in seen[1].split(b"\0") if each)[b"HOME"].decode()
    kept = [each for each in Path(home).rglob("*") if each.is_file()]
    assert [each for each in kept if each.parts[-2:] == (".ssh", "known_hosts")]
    seen += [each.read_bytes() for each in kept]
    assert not [secret for secret in secrets for data in seen if secret in data]


async def test_a_wrong_key_for_a_fetch_is_said_too(world: World, git_ssh: GitSsh) -> None:
    git_ssh.repo("app").commit({"a.yaml": ""})
    selected = await world.git.resolve(keyed(git_ssh), MAIN, TIMEOUT)
    stranger = keyed(git_ssh, key=git_ssh.key("stranger"))
    with pytest.raises(Problem) as caught:
        await world.git.fetch(stranger, MAIN, selected, TIMEOUT, submodules=False)
    assert caught.value.reason is Reason.AuthenticationFailed
    assert not world.git.has(stranger, selected.sha)
