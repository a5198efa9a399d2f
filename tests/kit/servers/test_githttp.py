"""Real clones by the git command line from the HTTP server, and what it refuses."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.kit.cluster.pki import Authority
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import GitError, git


def clone(url: str, target: Path, env: Mapping[str, str] | None = None, *options: str) -> str:
    """The commit that was cloned."""
    git(*options, "clone", "--quiet", url, target, env=env)
    return git("-C", target, "rev-parse", "HEAD")


def test_clone_over_http_counts_one_listing_and_one_fetch(git_http: GitHttp, tmp_path: Path) -> None:
    sha = git_http.repo("team/app").commit({"a": "1"})
    assert clone(git_http.url("team/app"), tmp_path / "clone") == sha
    assert (git_http.ref_listings("team/app"), git_http.fetches("team/app")) == (1, 1)


@pytest.mark.parametrize("version", ["0", "2"])
def test_ls_remote_is_no_fetch_in_any_protocol(git_http: GitHttp, version: str) -> None:
    sha = git_http.repo("app").commit({"a": "1"})
    listing = git("-c", f"protocol.version={version}", "ls-remote", git_http.url("app"))
    assert f"{sha}\trefs/heads/main" in listing.splitlines()
    assert (git_http.ref_listings(), git_http.fetches()) == (1, 0)


def test_tls_is_trusted_through_the_private_ca_only(
    git_https: GitHttp, authority: Authority, tmp_path: Path
) -> None:
    sha = git_https.repo("app").commit({"a": "1"})
    with pytest.raises(GitError, match="certificate"):
        clone(git_https.url("app"), tmp_path / "untrusted")
    assert git_https.requests == []
    trusting = {"GIT_SSL_CAINFO": str(authority.certificate)}
    assert clone(git_https.url("app"), tmp_path / "trusted", trusting) == sha


def test_an_expired_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    with GitHttp(tmp_path / "served", tls=authority.server("old", expired=True)) as server:
        server.repo("app").commit({"a": "1"})
        with pytest.raises(GitError, match="certificate"):
            git("ls-remote", server.url("app"), env={"GIT_SSL_CAINFO": str(authority.certificate)})
        assert server.requests == []


def test_basic_authentication(git_http: GitHttp, tmp_path: Path) -> None:
    sha = git_http.repo("app").commit({"a": "1"})
    git_http.rules("app").basic("ada", "right")
    with pytest.raises(GitError):
        clone(git_http.url("app"), tmp_path / "none")
    with pytest.raises(GitError, match="Authentication failed"):
        clone(git_http.url("app").replace("//", "//ada:wrong@"), tmp_path / "wrong")
    assert git_http.fetches() == 0
    assert clone(git_http.url("app").replace("//", "//ada:right@"), tmp_path / "right") == sha


def test_bearer_authentication(git_http: GitHttp, tmp_path: Path) -> None:
    sha = git_http.repo("app").commit({"a": "1"})
    git_http.rules("app").bearer("right")
    for token in ("wrong", "right"):
        header = f"http.extraHeader=Authorization: Bearer {token}"
        if token == "right":
            assert clone(git_http.url("app"), tmp_path / token, None, "-c", header) == sha
        else:
            with pytest.raises(GitError):
                clone(git_http.url("app"), tmp_path / token, None, "-c", header)


def test_rules_are_for_one_repository(git_http: GitHttp) -> None:
    git_http.repo("open").commit({"a": "1"})
    git_http.repo("closed").commit({"a": "1"})
    git_http.rules("closed").bearer("token")
    assert "refs/heads/main" in git("ls-remote", git_http.url("open"))
    with pytest.raises(GitError):
        git("ls-remote", git_http.url("closed"))


def test_redirect_to_another_path_and_another_host(git_http: GitHttp, tmp_path: Path) -> None:
    sha = git_http.repo("new").commit({"a": "1"})
    git_http.rules("old").redirect = "/new.git"
    assert clone(git_http.url("old"), tmp_path / "path") == sha
    with GitHttp(tmp_path / "elsewhere") as front:
        front.rules("app").redirect = git_http.url("new")
        assert clone(front.url("app"), tmp_path / "host") == sha
        assert [r.status for r in front.requests] == [302]


def test_what_arrived_is_recorded_with_its_credentials(git_http: GitHttp) -> None:
    git_http.repo("app").commit({"a": "1"})
    git("-c", "http.extraHeader=Authorization: Bearer seen", "ls-remote", git_http.url("app"))
    assert {r.authorization for r in git_http.requests} == {"Bearer seen"}
    assert all((r.user_agent or "").startswith("git/") for r in git_http.requests)


def test_absent_repositories_and_failing_servers(git_http: GitHttp) -> None:
    with pytest.raises(GitError, match="not found"):
        git("ls-remote", git_http.url("absent"))
    git_http.repo("app").commit({"a": "1"})
    git_http.rules("app").status = 503
    with pytest.raises(GitError, match="503"):
        git("ls-remote", git_http.url("app"))


def test_stopping_ends_a_silent_answer(tmp_path: Path) -> None:
    with GitHttp(tmp_path / "served") as server:
        server.repo("app")
        server.rules("app").delay = 3600
        with pytest.raises((urllib.error.URLError, TimeoutError)):
            urllib.request.urlopen(f"{server.url('app')}/info/refs", timeout=0.2)
    assert server.stopping.is_set()


def test_large_histories_arrive_whole(git_http: GitHttp, tmp_path: Path) -> None:
    repo = git_http.repo("app")
    for number in range(3):
        sha = repo.commit({f"{number}/{i}": f"{number} {i}\n" * 200 for i in range(200)})
    assert clone(git_http.url("app"), tmp_path / "clone") == sha
    repo.commit({"more": "1"})
    git("-C", tmp_path / "clone", "pull", "--quiet")
    assert git("-C", tmp_path / "clone", "fsck", "--full") == ""
    assert git_http.fetches() == 2
