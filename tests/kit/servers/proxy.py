"""A real HTTP proxy: CONNECT tunnels for https, forwarding for http.

In: optionally the Proxy-Authorization that it asks for. Out: a URL for `https_proxy`, a record of what passed.
"""

from __future__ import annotations

import base64
import selectors
import socket
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.kit.servers.threaded import Server


@dataclass(frozen=True)
class Passed:
    """One request to the proxy: `target` is host:port of a tunnel, or a URL."""

    method: str
    target: str
    status: int


class HttpProxy(Server):
    """Starts with `start`, or as a context manager."""

    def __init__(self, *, username: str = "", password: str = "") -> None:
        super().__init__(_Handler)
        self.requests: list[Passed] = []
        self.login = f"{username}:{password}" if username else ""

    @property
    def url(self) -> str:
        """The value of `https_proxy` and `http_proxy`."""
        return f"http://{self.login + '@' if self.login else ''}127.0.0.1:{self.port}"

    @property
    def tunnels(self) -> list[str]:
        """host:port of each tunnel that was opened."""
        return [p.target for p in self.requests if p.method == "CONNECT" and p.status == 200]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rbufsize = 0  # what follows the head belongs to the tunnel, and must not end up in a buffer
    server: HttpProxy

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        with self._connect(host.strip("[]"), int(port)) as origin:
            if origin.is_open:
                self.send_response(200)
                self.end_headers()
                origin.splice(self.connection)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        with self._connect(url.hostname or "", url.port or 80) as origin:
            if origin.is_open:
                origin.send(self._head(url.path or "/", url.query))
                origin.splice(self.connection)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing on stderr: `requests` is the log."""

    def _connect(self, host: str, port: int) -> _Origin:
        self.close_connection = True
        token = base64.b64encode(self.server.login.encode()).decode()
        if self.server.login and self.headers.get("Proxy-Authorization") != f"Basic {token}":
            return self._refuse(407, ("Proxy-Authenticate", 'Basic realm="proxy"'))
        try:
            origin = _Origin(socket.create_connection((host, port), timeout=10))
        except OSError:
            return self._refuse(502)
        self.server.requests.append(Passed(self.command, self.path, 200))
        return origin

    def _refuse(self, status: int, *headers: tuple[str, str]) -> _Origin:
        self.server.requests.append(Passed(self.command, self.path, status))
        self.send_response(status)
        for key, value in (*headers, ("Content-Length", "0"), ("Connection", "close")):
            self.send_header(key, value)
        self.end_headers()
        return _Origin(None)

    def _head(self, path: str, query: str) -> bytes:
        lines = [f"{self.command} {path}{'?' + query if query else ''} HTTP/1.1"]
        own = ("proxy-authorization", "proxy-connection", "connection")
        lines += [f"{key}: {value}" for key, value in self.headers.items() if key.lower() not in own]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")


class _Origin:
    """The connection to where the client wanted to go, if it could be opened."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection

    def __enter__(self) -> _Origin:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def send(self, data: bytes) -> None:
        assert self._connection
        self._connection.sendall(data)

    def splice(self, client: socket.socket) -> None:
        """Copy both ways until either side ends."""
        assert self._connection
        self._connection.settimeout(None)
        other = {client: self._connection, self._connection: client}
        with selectors.DefaultSelector() as selector:
            for each in other:
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    if not (data := source.recv(65536)):
                        return
                    other[source].sendall(data)
