"""A request that was given up is not delivered later, however slowly the server reads."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.kit.cluster.pki import Authority

from setpoint.kube.errors import ApiError
from setpoint.kube.requests import Request
from setpoint.kube.transport import Endpoint, Transport

# More than the server's kernel takes before somebody reads, less than the client's is ready to send.
BODY = b"x" * 40_000
BUFFER = 4096
END_MILLISECONDS = 5000


class SlowServer:
    """Accepts one connection, and reads nothing from it before it is told to."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._tls = tls
        self.read, self.received = threading.Event(), bytearray()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            try:
                plain = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            except OSError:
                return  # given up within the handshake
            with plain:
                self.read.wait(60)
                # The client's end takes a turn of its event loop; a lease leaves seconds for it.
                ended = select.poll()
                ended.register(plain, select.POLLRDHUP)
                ended.poll(END_MILLISECONDS)
                try:
                    while chunk := plain.recv(BUFFER):
                        self.received += chunk
                except OSError:
                    pass  # the connection was reset: what was not read is lost

    def end(self) -> bytes:
        """Read what comes until the connection ends."""
        self.read.set()
        self._thread.join()
        self._listener.close()
        return bytes(self.received)


@pytest.fixture(params=["plain", "tls"])
def contexts(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[ssl.SSLContext | None, ssl.SSLContext | None]]:
    if request.param == "plain":
        yield None, None
        return
    authority = Authority(tmp_path)
    pair = authority.server("slow")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pair.certificate, pair.key)
    yield server, ssl.create_default_context(cafile=str(authority.certificate))


class Fence:
    """The lease lasts this much longer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self) -> None:
        """It is held."""

    def remaining(self) -> float:
        return self._seconds


def transport(server: SlowServer, tls: ssl.SSLContext | None) -> Transport:
    async def nothing(_renew: bool) -> None:
        return None

    async def login() -> dict[str, Any]:
        return {}

    endpoint = Endpoint(server.url, nothing, login, tls)
    return Transport(endpoint, user_agent="tests", timeout=30, silence=90, count=lambda _verb, _code: None)


WRITE = Request("apply", "PATCH", "/late", BODY, repeatable=False)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("end", ["deadline", "cancelled"])
def test_what_was_given_up_never_arrives(
    contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None],
    end: str,
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    server = SlowServer(contexts[0])

    async def give_up() -> None:
        sending = transport(server, contexts[1])
        fence = Fence(1.0 if end == "deadline" else 30.0)
        try:
            async with asyncio.timeout(None if end == "deadline" else 1.0):
                await sending.send(WRITE, fence)
        except (ApiError, TimeoutError):
            # The process goes on, and so does the kernel: the server reads only now.
            assert BODY not in await asyncio.to_thread(server.end)
        else:
            pytest.fail("nobody can have answered")
        finally:
            await sending.close()

    run(give_up())
