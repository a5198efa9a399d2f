"""Git through the HTTP proxy: tunnels for https, forwarding for http."""

import pytest
from tests.kit.cluster.pki import Authority
from tests.kit.servers.closed import closed_port
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.proxy import HttpProxy
from tests.kit.servers.repo import GitError, git


def test_https_goes_through_a_tunnel(git_https: GitHttp, authority: Authority, http_proxy: HttpProxy) -> None:
    sha = git_https.repo("app").commit({"a": "1"})
    env = {"https_proxy": http_proxy.url, "GIT_SSL_CAINFO": str(authority.certificate)}
    assert sha in git("ls-remote", git_https.url("app"), env=env)
    assert http_proxy.tunnels == [f"127.0.0.1:{git_https.port}"]


def test_http_is_forwarded_request_by_request(git_http: GitHttp, http_proxy: HttpProxy) -> None:
    sha = git_http.repo("app").commit({"a": "1"})
    assert sha in git("ls-remote", git_http.url("app"), env={"http_proxy": http_proxy.url})
    assert [(p.method, p.status) for p in http_proxy.requests] == [("GET", 200), ("POST", 200)]
    assert http_proxy.requests[0].target.startswith(git_http.url("app"))
    assert git_http.ref_listings("app") == 1


def test_the_proxy_may_ask_for_a_password(git_http: GitHttp) -> None:
    sha = git_http.repo("app").commit({"a": "1"})
    with HttpProxy(username="user", password="secret") as proxy:
        with pytest.raises(GitError, match="407"):
            git("ls-remote", git_http.url("app"), env={"http_proxy": f"http://127.0.0.1:{proxy.port}"})
        assert git_http.requests == []
        assert sha in git("ls-remote", git_http.url("app"), env={"http_proxy": proxy.url})
    assert all(r.authorization is None for r in git_http.requests)


def test_an_origin_that_refuses_is_a_502(http_proxy: HttpProxy) -> None:
    with closed_port() as port, pytest.raises(GitError, match="502"):
        git("ls-remote", f"http://127.0.0.1:{port}/app.git", env={"http_proxy": http_proxy.url})
