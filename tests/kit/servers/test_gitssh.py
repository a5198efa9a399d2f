"""Real clones by the git command line over SSH, and who is kept out. Runs against each server there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.servers import sshd
from tests.kit.servers.gitssh import GitSsh
from tests.kit.servers.repo import GitError, git


@pytest.fixture(params=["asyncssh", "sshd"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GitSsh]:
    if request.param == "sshd" and sshd.ensure_sshd() is None:
        pytest.skip("sshd is not installed")
    monkeypatch.setenv("SETPOINT_TEST_SSH", request.param)
    with GitSsh(tmp_path / "served", tmp_path / "keys") as started:
        yield started


def test_clone_with_the_key(server: GitSsh, tmp_path: Path) -> None:
    sha = server.repo("team/app").commit({f"{i}.txt": "x" * 5000 for i in range(100)})
    git("clone", "-q", server.url("team/app"), tmp_path / "clone", env={"GIT_SSH_COMMAND": server.command()})
    assert git("-C", tmp_path / "clone", "rev-parse", "HEAD") == sha
    assert server.logins() == 1


def test_another_key_is_kept_out_until_authorized(server: GitSsh) -> None:
    sha = server.repo("app").commit({"a": "1"})
    stranger = server.key("stranger", kind="rsa")
    env = {"GIT_SSH_COMMAND": server.command(stranger)}
    with pytest.raises(GitError, match="Permission denied"):
        git("ls-remote", server.url("app"), env=env)
    assert server.logins() == 0
    server.authorize(stranger)
    assert sha in git("ls-remote", server.url("app"), env=env)


def test_another_host_key_is_noticed(server: GitSsh) -> None:
    server.repo("app").commit({"a": "1"})
    command = server.command()
    (server.folder / "known_hosts").write_text(server.known_hosts_with(server.key("impostor")))
    with pytest.raises(GitError, match="Host key verification failed"):
        git("ls-remote", server.url("app"), env={"GIT_SSH_COMMAND": command})
    assert server.logins() == 0


def test_absent_repositories_and_protocol_2(server: GitSsh) -> None:
    env = {"GIT_SSH_COMMAND": server.command(), "GIT_TRACE_PACKET": "1"}
    with pytest.raises(GitError, match="does not appear to be a git repository"):
        git("ls-remote", server.url("absent"), env=env)
    server.repo("empty")
    assert git("ls-remote", server.url("empty"), env=env) == ""


def test_a_key_with_a_passphrase_is_encrypted(server: GitSsh) -> None:
    server.repo("app").commit({"a": "1"})
    locked = server.key("locked", passphrase="open sesame")
    server.authorize(locked)
    with pytest.raises(GitError, match="Permission denied"):  # batch mode: nobody is asked
        git("ls-remote", server.url("app"), env={"GIT_SSH_COMMAND": server.command(locked)})
