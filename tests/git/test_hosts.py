"""Where Git connects to: real servers on loopback, which is denied unless a setting says otherwise."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.git.conftest import LOOPBACK_TOO, MakeWorld, World, at, with_secret
from tests.git.test_https import NAME, NamingProxy
from tests.git.test_relay import listing, ok, origin
from tests.kit.cluster.pki import Authority
from tests.kit.servers.closed import closed_port
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.gitssh import GitSsh
from tests.kit.servers.repo import Submodule

from setpoint.api.hosts import ALLOWED, DENIED, RESERVED_ALONE, HostRules
from setpoint.api.reasons import Reason
from setpoint.git.credentials import keys_of
from setpoint.git.remotes import Remote, Repository, parse_url
from setpoint.git.worker import egress
from setpoint.git.worker.relay import Relay

SPELLINGS = ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]")
ONE = HostRules(allowed=("127.0.0.1/32",))


async def test_loopback_is_denied_by_default_in_any_spelling(
    make_world: MakeWorld, git_http: GitHttp, git_https: GitHttp, git_ssh: GitSsh
) -> None:
    world = make_world(hosts=RESERVED_ALONE)
    git_http.repo("app").commit({"a": "1"})
    said = f"may not be connected to: it is a loopback address; {ALLOWED} does not list it"
    for server, spellings in ((git_http, SPELLINGS), (git_https, SPELLINGS[:2])):
        for host in spellings:
            problem = await world.fails(at(server.url("app").replace("127.0.0.1", host)))
            place = f"{host}:{server.port}"
            assert (problem.reason, problem.message) == (Reason.HostDenied, f"{place} {said}")
    unspecified = await world.fails(at(git_http.url("app").replace("127.0.0.1", "0")))
    assert f"it is an unspecified address; {ALLOWED}" in unspecified.message
    for host in ("127.0.0.1", "localhost"):
        url, known = (
            text.replace("127.0.0.1", host, 1) for text in (git_ssh.url("app"), git_ssh.known_hosts)
        )
        problem = await world.fails(with_secret(url, identity=git_ssh.identity, known_hosts=known))
        assert (problem.reason, problem.message) == (Reason.HostDenied, f"{host}:{git_ssh.port} {said}")
    with closed_port() as nobody:
        problem = await world.fails(at(f"http://127.0.0.1:{nobody}/app.git"))
        assert problem.message == f"127.0.0.1:{nobody} {said}", "whether somebody listens is not told"
    assert not git_http.requests
    assert not git_https.requests
    assert git_ssh.logins() == 0


async def test_lists_and_the_api_server(make_world: MakeWorld, git_http: GitHttp, git_https: GitHttp) -> None:
    sha, url = git_http.repo("app").commit({"a": "1"}), git_http.url("app")
    api = (("127.0.0.1", git_https.port), ("localhost", git_https.port))
    world = make_world(hosts=HostRules(LOOPBACK_TOO.allowed, ("localhost",), api))
    assert (await world.check(at(url))).sha == sha
    denied = await world.fails(at(url.replace("127.0.0.1", "localhost")))
    assert denied.message == f"localhost:{git_http.port} may not be connected to: {DENIED} denies it"
    server = await world.fails(at(git_https.url("app")))
    assert server.message.endswith(f"it is the API server; {ALLOWED} does not list it")
    named = make_world(hosts=HostRules(LOOPBACK_TOO.allowed, (), (("localhost", git_https.port),)))
    assert (await named.fails(at(git_https.url("app")))).reason is Reason.HostDenied, "by what the name is"
    listed = make_world(hosts=HostRules(allowed=("*.example.org", "127.0.0.2/32")))
    assert "loopback" in (await listed.fails(at(url))).message
    assert not git_https.requests


async def test_a_submodule_is_judged_like_its_parent(make_world: MakeWorld, git_http: GitHttp) -> None:
    pinned = git_http.repo("inner").commit({"b": "2"})
    elsewhere = git_http.url("inner").replace("127.0.0.1", "127.0.0.2")
    modules = f'[submodule "far"]\n\tpath = far\n\turl = {elsewhere}\n'
    git_http.repo("app").commit({".gitmodules": modules, "far": Submodule(pinned)})
    problem = await make_world(hosts=ONE).fails(at(git_http.url("app")), submodules=True)
    assert problem.reason is Reason.HostDenied
    assert problem.message.startswith(f"submodule far: 127.0.0.2:{git_http.port} may not be connected to: ")
    assert git_http.fetches("inner") == 0


async def test_behind_a_proxy_what_is_written_as_an_address_is_judged(
    make_world: MakeWorld, git_http: GitHttp, git_https: GitHttp, authority: Authority
) -> None:
    sha = git_https.repo("app").commit({"a": "1"})
    with (
        NamingProxy() as proxy,
        GitHttp(git_https.root, tls=authority.server("named", NAME)) as named,
    ):
        environ = {"https_proxy": proxy.url, "http_proxy": proxy.url}
        world = make_world(environ=environ, hosts=HostRules(denied=("bad.example.test",)))
        for host in ("127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "4294967296"):
            server = git_https if host == "0x7f.1" else git_http
            problem = await world.fails(at(server.url("app").replace("127.0.0.1", host)))
            assert problem.reason is Reason.HostDenied
        assert (await world.fails(at("https://bad.example.test/app"))).reason is Reason.HostDenied
        assert not proxy.requests
        repository = with_secret(named.url("app").replace("127.0.0.1", NAME), ca_crt=authority.certificate)
        assert (await world.check(repository)).sha == sha, "what a name is, only the proxy knows"


def answering(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> list[str]:
    """Let a resolver answer for NAME, each time otherwise; returns the names that were asked for."""
    asked: list[str] = []
    left, real = list(answers), socket.getaddrinfo

    def resolve(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host != NAME:
            return real(host, port, *more, **named)
        asked.append(host)
        found = left.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_a_name_is_resolved_once_for_a_connection_and_judged_again_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So nobody can answer one address to the judge and another to who connects; after a redirect neither."""
    bye = "HTTP/1.1 302 Found\r\nLocation: /b.git/info/refs\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with origin(lambda head, _body: bye.encode() if "/a.git" in head else ok(b"refs")) as server:
        repository = Repository(parse_url(f"http://{NAME}:{server.port}/a.git"))
        asked = answering(monkeypatch, ("127.0.0.1",), ("127.0.0.1",))
        with Relay(repository, None, ONE) as relay:
            assert listing(relay)[0] == 200
        assert (len(asked), server.connections) == (2, 2)
        asked = answering(monkeypatch, ("127.0.0.1",), ("127.0.0.2",))
        with Relay(repository, None, ONE) as relay:
            assert listing(relay)[0] == 502
        assert relay.problem
        assert relay.problem.reason is Reason.HostDenied
        assert (len(asked), server.connections) == (2, 3)


def test_of_several_addresses_the_allowed_ones_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    with origin(lambda _head, _body: ok(b"refs")) as server:
        repository = Repository(parse_url(f"http://{NAME}:{server.port}/a.git"))
        # The first is denied, at the second nobody listens.
        answering(monkeypatch, ("169.254.169.254", "127.0.0.3", "127.0.0.1"))
        with Relay(repository, None, HostRules(allowed=("127.0.0.0/8",))) as relay:
            assert listing(relay) == (200, b"refs")
        answering(monkeypatch, tuple(f"127.0.1.{n}" for n in range(200)))
        found = egress.addresses(repository.remote, HostRules(allowed=("127.0.0.0/8",)))
        assert len(found) == egress.MOST


async def test_the_host_key_of_an_ssh_server_is_looked_up_by_its_name(world: World, git_ssh: GitSsh) -> None:
    sha, key = git_ssh.repo("app").commit({"a": "1"}), git_ssh.known_hosts.split(" ", 1)[1]
    url = git_ssh.url("app").replace("127.0.0.1", "localhost", 1)

    def keyed(known: str) -> Repository:
        return with_secret(url, identity=git_ssh.identity, known_hosts=known)

    for hosts in (f"[localhost]:{git_ssh.port}", "localhost", f"x,[localhost]:{git_ssh.port}"):
        assert (await world.check(keyed(f"{hosts} {key}"))).sha == sha
    wrong = git_ssh.known_hosts_with(git_ssh.key("another")).split(" ", 1)[1]
    problem = await world.fails(keyed(f"[127.0.0.1]:{git_ssh.port} {key}127.0.0.1 {key}"))
    assert problem.reason is Reason.HostKeyUnknown, "what is listed for the address is not what the name has"
    assert "is not in known_hosts" in problem.message
    problem = await world.fails(keyed(f"localhost {wrong}127.0.0.1 {key}"))
    assert problem.reason is Reason.HostKeyUnknown


async def test_ssh_over_ipv6(world: World, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with GitSsh(tmp_path / "repos", tmp_path / "keys", host="::1") as server:
        sha = server.repo("app").commit({"a": "1"})
        remote = parse_url(server.url("app").replace("::1", "[::1]", 1))
        secret = with_secret(
            "ssh://git@x/y", identity=server.identity, known_hosts=server.known_hosts
        ).credentials
        assert (await world.check(Repository(remote, secret))).sha == sha
        # As of `user@host:path`, below the login folder; no such URL can name another port.
        path = os.path.relpath(server.root / "app.git", Path.home())
        short = Remote("ssh", remote.host, remote.port, path, f"{remote.user}@[::1]:{path}", remote.user)
        assert (await world.check(Repository(short, secret))).sha == sha


@pytest.mark.parametrize(
    ("line", "known"),
    [
        *(("git.example.org KEY", True), ("[git.example.org]:2222 KEY", True), ("a,git.example.org,b KEY c", True)),
        *(("Git.Example.org KEY", True), ("  git.example.org   KEY", True), ("git.example.org\tKEY", True)),
        *(("[git.example.org]:22 KEY", False), ("example.org KEY", False), ("*.example.org KEY", False)),
        *(("# git.example.org KEY", False), ("#git.example.org KEY", False), ("git.example.org", False), ("", False)),
        *(("@revoked git.example.org KEY", False), ("@cert-authority git.example.org KEY", False)),
        *(("|1|bad git.example.org", False), ("|1|x|y KEY", False), ("|1|| KEY", False)),
    ],
)  # fmt: skip
def test_the_lines_of_known_hosts_that_are_of_a_host(line: str, known: bool) -> None:
    found = keys_of(f"other.org NO\n{line}\n\n", "git.example.org", 2222)
    assert [key.split()[0] for key in found] == (["KEY"] if known else [])
