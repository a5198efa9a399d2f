"""The relay between libgit2 and an HTTP server: its edges, with a server that misbehaves as told."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from tests.git.conftest import LOOPBACK_TOO, World
from tests.kit.servers.closed import closed_port
from tests.kit.servers.proxy import HttpProxy
from tests.kit.servers.repo import Repo

from setpoint.api.reasons import Problem, Reason
from setpoint.git.remotes import Repository, parse_url
from setpoint.git.worker.relay import FETCH, LISTING, Relay

WAIT = 10.0  # seconds after which a test gives up; nothing is asserted on time
CONTENT = "Content-Type: application/x-git-upload-pack-advertisement\r\n"


class Origin:
    """A TCP server; `answer` gets what was asked (head and body) and gives the bytes to send, or None to hang up."""

    def __init__(self, answer: Callable[[str, bytes], bytes | None]) -> None:
        self._answer = answer
        self.asked: list[str] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT)
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, suppress(ConnectionError):
            while line := stream.readline():
                headers = http.client.parse_headers(stream)
                body = stream.read(int(headers.get("Content-Length", "0")))
                self.asked.append(line.decode().rpartition(" ")[0])
                answer = self._answer(f"{line.decode()}{headers}", body)
                if answer is None:
                    return
                client.sendall(answer)
                if b"\r\nConnection: close\r\n" in answer:
                    return


@contextmanager
def origin(answer: Callable[[str, bytes], bytes | None]) -> Iterator[Origin]:
    with closing(Origin(answer)) as made:
        yield made


def ok(body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\n{CONTENT}Content-Length: {len(body)}\r\n\r\n".encode() + body


def repository(server: Origin, path: str = "/team/app.git") -> Repository:
    return Repository(parse_url(f"http://127.0.0.1:{server.port}{path}"))


def client_of(relay: Relay) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection to the relay, and the path that libgit2 is told."""
    parts = urlsplit(relay.url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WAIT), parts.path


def listing(relay: Relay) -> tuple[int, bytes]:
    connection, base = client_of(relay)
    with closing(connection):
        connection.request("GET", base + LISTING)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_both_requests_of_a_fetch_pass_unchanged_over_one_connection_each() -> None:
    pack = bytes(range(256)) * 8192
    with origin(lambda head, body: ok(pack + body if head.startswith("POST") else b"refs")) as server:
        with Relay(repository(server), None, LOOPBACK_TOO) as relay:
            connection, base = client_of(relay)
            with closing(connection):
                connection.request("GET", base + LISTING)
                assert connection.getresponse().read() == b"refs"
                connection.request("POST", base + FETCH, b"wants")
                assert connection.getresponse().read() == pack + b"wants"
                # libgit2 posts in chunks when there is much to say
                connection.request("POST", base + FETCH, iter([b"wa", b"nts"]), encode_chunked=True)
                assert connection.getresponse().read() == pack + b"wants"
            assert relay.problem is None
        assert server.asked == [f"GET /team/app.git{LISTING}"] + [f"POST /team/app.git{FETCH}"] * 2
        assert server.connections == 1


@pytest.mark.parametrize(
    "path", [LISTING, "/guess" + LISTING, "{base}", "{base}/", "{base}/info/refs", "{base}/../other" + LISTING, "http://127.0.0.1:{port}/team/app.git" + LISTING]
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whoever_does_not_know_the_secret_path_gets_nothing(path: str, method: str) -> None:
    with origin(lambda _head, _body: ok(b"refs")) as server:
        with Relay(repository(server), None, LOOPBACK_TOO) as relay:
            connection, base = client_of(relay)
            with closing(connection):
                connection.request(method, path.format(base=base, port=server.port))
                assert connection.getresponse().status == 403
        assert server.connections == 0


def test_two_relays_share_no_secret() -> None:
    with (
        origin(lambda _head, _body: ok(b"refs")) as server,
        Relay(repository(server), None, LOOPBACK_TOO) as one,
        Relay(repository(server), None, LOOPBACK_TOO) as other,
    ):
        connection, _ = client_of(one)
        with closing(connection):
            connection.request("GET", urlsplit(other.url).path + LISTING)
            assert connection.getresponse().status == 403


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 200 OK\r\n{CONTENT}Content-Length: 100\r\nConnection: close\r\n\r\nshort",
        f"HTTP/1.1 200 OK\r\n{CONTENT}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n64\r\nshort",
        f"HTTP/1.1 200 OK\r\n{CONTENT}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nshort\r\n",
    ],
)
def test_half_an_answer_never_looks_whole(answer: str) -> None:
    with (
        origin(lambda _head, _body: answer.encode()) as server,
        Relay(repository(server), None, LOOPBACK_TOO) as relay,
    ):
        with pytest.raises(http.client.HTTPException):
            listing(relay)
        assert relay.problem is not None
        assert relay.problem.reason is Reason.HostUnreachable


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, Reason.HostUnreachable),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\nConnection: close\r\n", Reason.HostUnreachable),
        ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", Reason.AuthenticationFailed),
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", Reason.RepositoryNotFound),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", Reason.GitFailed),
        ("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", Reason.HostUnreachable),
        ("HTTP/1.1 302 No\r\nLocation: https://evil.example/x\r\nContent-Length: 0\r\n\r\n", Reason.RedirectRefused),
        ("HTTP/1.1 302 No\r\nLocation: http://127.0.0.1:99999/x\r\nContent-Length: 0\r\n\r\n", Reason.RedirectRefused),
        ("HTTP/1.1 302 No\r\nLocation: /login?next=x\r\nContent-Length: 0\r\n\r\n", Reason.GitFailed),
        (f"HTTP/1.1 302 No\r\nLocation: /t\xe9am{LISTING}\r\nContent-Length: 0\r\n\r\n", None),
        (f"HTTP/1.1 302 No\r\nLocation: /a b{LISTING}\r\nContent-Length: 0\r\n\r\n", None),
    ],
)  # fmt: skip
def test_every_way_to_say_no_is_a_problem(answer: str | None, reason: Reason | None) -> None:
    data = answer.encode("latin-1") if answer else None
    with origin(lambda _head, _body: data) as server, Relay(repository(server), None, LOOPBACK_TOO) as relay:
        status, _ = listing(relay)
        assert status == 502
        assert relay.problem is not None
        assert reason is None or relay.problem.reason is reason


def test_a_circle_of_redirects_ends() -> None:
    def answer(head: str, _body: bytes) -> bytes:
        target = "/b" if "/a/info" in head else "/a"
        return f"HTTP/1.1 301 Moved\r\nLocation: {target}{LISTING}\r\nContent-Length: 0\r\n\r\n".encode()

    with origin(answer) as server, Relay(repository(server, "/a"), None, LOOPBACK_TOO) as relay:
        assert listing(relay)[0] == 502
        assert relay.problem is not None
        assert "circle" in relay.problem.message
        assert len(server.asked) < 20


def test_a_connection_that_was_kept_too_long_is_opened_again() -> None:
    def answer(head: str, body: bytes) -> bytes | None:
        # The second request on a connection meets a server that has just closed it.
        return ok(body or b"refs") if server.connections == 2 or head.startswith("GET") else None

    with origin(answer) as server, Relay(repository(server), None, LOOPBACK_TOO) as relay:
        connection, base = client_of(relay)
        with closing(connection):
            connection.request("GET", base + LISTING)
            assert connection.getresponse().read() == b"refs"
            connection.request("POST", base + FETCH, b"wants")
            assert connection.getresponse().read() == b"wants"
        assert relay.problem is None
        assert server.connections == 2


def test_an_origin_that_closes_after_each_answer_is_asked_on_a_new_connection() -> None:
    def answer(_head: str, body: bytes) -> bytes:
        return ok(body or b"refs").replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    with origin(answer) as server, Relay(repository(server), None, LOOPBACK_TOO) as relay:
        connection, base = client_of(relay)
        with closing(connection):
            connection.request("GET", base + LISTING)
            assert connection.getresponse().read() == b"refs"
            connection.request("POST", base + FETCH, b"wants")
            assert connection.getresponse().read() == b"wants"
        assert server.connections == 2


@pytest.mark.parametrize("url", ["https://git.example/app", "http://git.example/app"])
def test_a_dead_proxy_is_named_without_its_password(url: str) -> None:
    with (
        closed_port() as port,
        Relay(Repository(parse_url(url)), f"http://ana:s3cret@127.0.0.1:{port}", LOOPBACK_TOO) as relay,
    ):
        assert listing(relay)[0] == 502
        assert relay.problem is not None
        assert relay.problem.reason is Reason.HostUnreachable
        assert relay.problem.message.endswith(f"the proxy 127.0.0.1:{port}: connection refused")


@pytest.mark.parametrize("url", ["https://git.example/app", "http://git.example/app"])
def test_a_proxy_that_wants_another_password(url: str) -> None:
    with HttpProxy(username="ana", password="s3cret") as proxy:
        with Relay(
            Repository(parse_url(url)), f"http://ana:wr0ng@127.0.0.1:{proxy.port}", LOOPBACK_TOO
        ) as relay:
            assert listing(relay)[0] == 502
            assert relay.problem is not None
            assert (relay.problem.reason, "407" in relay.problem.message) == (Reason.HostUnreachable, True)
            assert "proxy" in relay.problem.message
            assert "wr0ng" not in relay.problem.message
        assert [each.status for each in proxy.requests] == [407]


@pytest.mark.parametrize("password", ["s3cret", "p@ss:w/rd%"])
def test_plain_http_through_a_proxy_with_a_password(password: str) -> None:
    with origin(lambda _head, _body: ok(b"refs").replace(b"\r\n", b"\r\nConnection: close\r\n", 1)) as server:
        with HttpProxy(username="ana", password=password) as proxy:
            url = f"http://ana:{quote(password, safe='')}@127.0.0.1:{proxy.port}"
            with Relay(repository(server), url, LOOPBACK_TOO) as relay:
                assert listing(relay) == (200, b"refs")
            assert [each.status for each in proxy.requests] == [200]
        assert len(server.asked) == 1


def test_a_proxy_of_another_kind_is_said() -> None:
    with pytest.raises(Problem, match="not an http:// URL") as caught:
        Relay(
            Repository(parse_url("https://git.example/app")), "socks5://ana:s3cret@127.0.0.1:1", LOOPBACK_TOO
        )
    assert caught.value.reason is Reason.HostUnreachable
    assert "s3cret" not in caught.value.message


@pytest.mark.asyncio
async def test_half_a_pack_is_not_kept_and_the_next_fetch_is_whole(world: World, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    sha = repo.commit({f"{n}.yaml": f"{n}: {n * 7919 % 1009}\n" * 50 for n in range(200)})
    broken = threading.Event()
    broken.set()

    def answer(head: str, body: bytes) -> bytes:
        how = ["--advertise-refs"] if head.startswith("GET") else []
        command = ["git", "upload-pack", "--stateless-rpc", *how, str(repo.path)]
        out = subprocess.run(command, input=body, capture_output=True, check=True).stdout
        if head.startswith("GET"):
            return ok(b"001e# service=git-upload-pack\n0000" + out)
        whole = ok(out).replace(b"advertisement", b"result").replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        return whole[: len(whole) // 2] if broken.is_set() and b"PACK" in out else whole

    with origin(answer) as server:
        there = repository(server)
        problem = await world.fails(there)
        assert problem.reason is Reason.HostUnreachable
        assert not world.git.has(there, sha)
        broken.clear()
        assert (await world.check(there)).sha == sha
        assert world.read(there, sha, "7.yaml").startswith(f"7: {7 * 7919 % 1009}\n".encode())


def test_a_client_that_hangs_up_is_no_problem_of_the_server() -> None:
    with (
        origin(lambda _head, _body: ok(b"x" * 2**24)) as server,
        Relay(repository(server), None, LOOPBACK_TOO) as relay,
    ):
        before = set(threading.enumerate())
        connection, base = client_of(relay)
        connection.request("GET", base + LISTING)
        answer = connection.getresponse()
        assert answer.read(1) == b"x"
        mine = set(threading.enumerate()) - before
        answer.close()
        connection.close()
        for thread in mine:
            thread.join(WAIT)
        assert relay.problem is None
        assert listing(relay) == (200, b"x" * 2**24)


def test_leaving_closes_the_port_and_ends_every_thread_even_while_the_server_is_silent() -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(_head: str, _body: bytes) -> None:
        asked.set()
        over.wait(WAIT)

    with origin(silent) as server:
        before = set(threading.enumerate())
        with Relay(repository(server), None, LOOPBACK_TOO) as relay:
            connection, base = client_of(relay)
            connection.request("GET", base + LISTING)
            assert asked.wait(WAIT)
            mine = {
                each for each in threading.enumerate() if each not in before and each not in server._threads
            }
        parts = urlsplit(relay.url) if relay._listener.fileno() >= 0 else None
        assert parts is None
        for thread in mine:
            thread.join(WAIT / 2)
        alive = [thread.name for thread in mine if thread.is_alive()]
        over.set()
        connection.close()
        assert alive == []
