"""HTTPS: who we are, whom we trust, where credentials do not go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.git.conftest import MAIN, TIMEOUT, MakeWorld, World, at, trusting, with_secret
from tests.kit.cluster.pki import Authority, Pair
from tests.kit.servers import proxy as proxies
from tests.kit.servers.closed import closed_port
from tests.kit.servers.githttp import GitHttp

from setpoint.api.reasons import Problem, Reason
from setpoint.git.remotes import Repository

pytestmark = pytest.mark.asyncio
NAME = "git.example.test"
StartHttps = Callable[[str, Pair], GitHttp]
USER, PASSWORD, TOKEN = "robot", "correct horse: b@ttery", "t0ken"


class NamingHandler(proxies._Handler):
    """Knows where NAME is; nobody else does."""

    def _connect(self, host: str, port: int) -> proxies._Origin:
        return super()._connect("127.0.0.1" if host == NAME else host, port)


class NamingProxy(proxies.HttpProxy):
    """A proxy into a network that only it can see."""

    def __init__(self, **login: str) -> None:
        super().__init__(**login)
        self.RequestHandlerClass = NamingHandler


def basic(server: GitHttp, authority: Authority, name: str = "app", password: str = PASSWORD) -> Repository:
    return with_secret(server.url(name), username=USER, password=password, ca_crt=authority.certificate)


def bearer(server: GitHttp, authority: Authority, name: str = "app", token: str = TOKEN) -> Repository:
    return with_secret(server.url(name), bearerToken=token, ca_crt=authority.certificate)


async def test_a_private_ca_is_trusted_when_the_secret_names_it(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    sha = git_https.repo("app").commit({"a.yaml": "a: 1\n"})
    repository = trusting(git_https.url("app"), authority)
    assert (await world.check(repository)).sha == sha
    assert world.read(repository, sha, "a.yaml") == b"a: 1\n"


async def test_plain_http_works_without_credentials(world: World, git_http: GitHttp) -> None:
    sha = git_http.repo("app").commit({"a.yaml": "a: 1\n"})
    assert (await world.check(at(git_http.url("app")))).sha == sha


async def test_basic_authentication(world: World, git_https: GitHttp, authority: Authority) -> None:
    sha = git_https.repo("app").commit({"a.yaml": ""})
    git_https.rules("app").basic(USER, PASSWORD)
    assert (await world.check(basic(git_https, authority))).sha == sha


async def test_bearer_authentication(world: World, git_https: GitHttp, authority: Authority) -> None:
    sha = git_https.repo("app").commit({"a.yaml": ""})
    git_https.rules("app").bearer(TOKEN)
    assert (await world.check(bearer(git_https, authority))).sha == sha


async def test_a_wrong_password_is_tried_once(world: World, git_https: GitHttp, authority: Authority) -> None:
    git_https.repo("app").commit({"a.yaml": ""})
    git_https.rules("app").basic(USER, PASSWORD)
    problem = await world.fails(basic(git_https, authority, password="wr0ng-one"))
    assert problem.reason is Reason.AuthenticationFailed
    assert "wr0ng-one" not in problem.message
    assert [request.status for request in git_https.requests] == [401]


async def test_a_wrong_token(world: World, git_https: GitHttp, authority: Authority) -> None:
    git_https.repo("app").commit({"a.yaml": ""})
    git_https.rules("app").bearer(TOKEN)
    problem = await world.fails(bearer(git_https, authority, token="n0t-it"))
    assert problem.reason is Reason.AuthenticationFailed
    assert "n0t-it" not in problem.message


async def test_no_credentials_where_some_are_asked_for(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    git_https.repo("app").commit({"a.yaml": ""})
    git_https.rules("app").basic(USER, PASSWORD)
    problem = await world.fails(trusting(git_https.url("app"), authority))
    assert problem.reason is Reason.AuthenticationFailed
    assert "secretRef" in problem.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, Reason.AuthenticationFailed),
        (404, Reason.RepositoryNotFound),
        (429, Reason.GitFailed),
        (500, Reason.GitFailed),
        (503, Reason.HostUnreachable),
        (200, Reason.GitFailed),
    ],
)
async def test_what_the_status_means(
    world: World, git_https: GitHttp, authority: Authority, status: int, reason: Reason
) -> None:
    git_https.repo("app").commit({"a.yaml": ""})
    git_https.rules("app").status = status
    problem = await world.fails(basic(git_https, authority))
    assert problem.reason is reason, problem
    assert "127.0.0.1" in problem.message


async def test_a_repository_that_is_not_there(world: World, git_https: GitHttp, authority: Authority) -> None:
    problem = await world.fails(trusting(git_https.url("absent"), authority))
    assert problem.reason is Reason.RepositoryNotFound
    assert "may not see it" in problem.message


async def test_an_expired_certificate(world: World, start_https: StartHttps, authority: Authority) -> None:
    server = start_https("old", authority.server("old", expired=True))
    problem = await world.fails(basic(server, authority))
    assert problem.reason is Reason.CertificateInvalid
    assert "expired" in problem.message
    assert not server.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_certificate_for_another_host(
    world: World, start_https: StartHttps, authority: Authority, host: str
) -> None:
    server = start_https("other", authority.server("other", "git.example.org"))
    server.host = host
    problem = await world.fails(basic(server, authority))
    assert problem.reason is Reason.CertificateInvalid
    assert "mismatch" in problem.message
    assert not server.requests


async def test_an_unknown_authority(
    world: World, git_https: GitHttp, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    git_https.repo("app").commit({"a.yaml": ""})
    assert (await world.fails(at(git_https.url("app")))).reason is Reason.CertificateInvalid
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    problem = await world.fails(basic(git_https, stranger))
    assert problem.reason is Reason.CertificateInvalid
    assert not git_https.requests


async def test_two_sources_do_not_trust_each_others_authorities(
    world: World, git_https: GitHttp, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """libgit2's trust is process-wide and piles up: in one process, the second check would pass."""
    git_https.repo("app").commit({"a.yaml": ""})
    other = Authority(tmp_path_factory.mktemp("other"))
    await world.check(trusting(git_https.url("app"), authority))
    problem = await world.fails(trusting(git_https.url("app"), other))
    assert problem.reason is Reason.CertificateInvalid
    assert len(world.pids()) == 2
    await world.check(trusting(git_https.url("app"), authority))


async def test_a_redirect_on_the_same_origin_is_followed(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    sha = git_https.repo("moved/app").commit({"a.yaml": "x"})
    git_https.rules("moved/app").basic(USER, PASSWORD)
    git_https.rules("app").redirect = "/moved/app.git"
    repository = basic(git_https, authority)
    assert (await world.check(repository)).sha == sha
    assert world.read(repository, sha, "a.yaml") == b"x"


@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_credential_arrives_at_another_origin(
    world: World, git_https: GitHttp, start_https: StartHttps, authority: Authority, host: str, kind: str
) -> None:
    """Another host, and another port of the same host, which libgit2 by itself would follow."""
    other = start_https("other", authority.server("other"))
    other.host = host
    other.repo("app").commit({"a.yaml": ""})
    git_https.rules("app").redirect = other.url("app")
    repository = (basic if kind == "basic" else bearer)(git_https, authority)
    problem = await world.fails(repository)
    assert problem.reason is Reason.RedirectRefused
    assert host in problem.message
    assert other.requests == []


async def test_a_redirect_that_appears_before_the_fetch_is_refused_too(
    world: World, git_https: GitHttp, start_https: StartHttps, authority: Authority
) -> None:
    git_https.repo("app").commit({"a.yaml": ""})
    other = start_https("other", authority.server("other"))
    repository = basic(git_https, authority)
    selected = await world.git.resolve(repository, MAIN, TIMEOUT)
    git_https.rules("app").redirect = other.url("app")
    with pytest.raises(Problem) as caught:
        await world.git.fetch(repository, MAIN, selected, TIMEOUT, submodules=False)
    assert caught.value.reason is Reason.RedirectRefused
    assert other.requests == []


async def test_a_downgrade_to_http_is_refused(
    world: World, git_https: GitHttp, git_http: GitHttp, authority: Authority
) -> None:
    git_http.repo("app").commit({"a.yaml": ""})
    git_https.rules("app").redirect = git_http.url("app")
    assert (await world.fails(basic(git_https, authority))).reason is Reason.RedirectRefused
    assert git_http.requests == []


async def test_plain_http_is_redirected_on_its_own_origin_only(
    world: World, git_http: GitHttp, git_https: GitHttp
) -> None:
    sha = git_http.repo("moved").commit({"a.yaml": ""})
    git_http.rules("app").redirect = "/moved.git"
    assert (await world.check(at(git_http.url("app")))).sha == sha
    git_http.rules("app").redirect = git_https.url("app")
    assert (await world.fails(at(git_http.url("app")))).reason is Reason.RedirectRefused
    assert git_https.requests == []


async def test_an_unknown_host_and_a_closed_port(world: World, authority: Authority) -> None:
    problem = await world.fails(at("https://git.does-not-exist.invalid/team/app.git"))
    assert problem.reason is Reason.HostUnreachable
    assert "git.does-not-exist.invalid" in problem.message
    with closed_port() as port:
        problem = await world.fails(trusting(f"https://127.0.0.1:{port}/app.git", authority))
    assert (problem.reason, "refused" in problem.message) == (Reason.HostUnreachable, True)


async def test_the_proxy_of_the_environment_is_used(
    make_world: MakeWorld, start_https: StartHttps, authority: Authority
) -> None:
    """The proxy is asked for a name that only it can reach; NO_PROXY leads past it."""
    server = start_https("named", authority.server("named", NAME))
    server.host = NAME
    with NamingProxy(username="me", password="pr0xy") as proxy:
        proxy_environment = {"https_proxy": proxy.url, "UNRELATED": "x"}
        sha = server.repo("app").commit({"a.yaml": ""})
        server.rules("app").basic(USER, PASSWORD)
        world = make_world(environ=proxy_environment)
        assert (await world.check(basic(server, authority))).sha == sha
        assert set(proxy.tunnels) == {f"{NAME}:{server.port}"}
        past = make_world(environ={**proxy_environment, "no_proxy": NAME})
        assert (await past.fails(basic(server, authority))).reason is Reason.HostUnreachable
        wrong = make_world(environ={"HTTPS_PROXY": proxy.url.replace("pr0xy", "no")})
        problem = await wrong.fails(basic(server, authority))
        assert problem.reason is Reason.HostUnreachable
        assert "407" in problem.message
        assert "no@" not in problem.message
