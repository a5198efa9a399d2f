"""HTTPS for libgit2: a relay on loopback that leads to one repository only (shell, in the child process).

libgit2 by itself sends credentials after a redirect to another *port* of the same host, whatever
`http.followRedirects` says; behind a CONNECT proxy it hangs for ever on a certificate it rejects; and its trust
belongs to the whole process. So it is given `http://127.0.0.1:<port>/<secret>`, and `https` does what
matters with the standard library. libgit2 never sees a credential.

The secret path keeps other local processes out; the relay lives as long as one operation.
"""

from __future__ import annotations

import http.client
import secrets
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self

from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem
from setpoint.git.remotes import Repository
from setpoint.git.worker.https import Origin, Session, shut

CHUNK = 256 * 1024
LISTING = "/info/refs?service=git-upload-pack"
FETCH = "/git-upload-pack"
PASSED = ("Accept", "Content-Type", "User-Agent")


class Relay:
    """Listens while entered; `problem` says why it could not do what libgit2 asked for."""

    def __init__(self, repository: Repository, proxy: str | None, rules: HostRules) -> None:
        """`proxy`: the URL of an HTTP proxy, or None. Problem(SecretInvalid) if the CA cannot be read."""
        self.origin = Origin(repository, proxy, rules)
        self.secret = secrets.token_urlsafe(24)
        self.problem: Problem | None = None

    def __enter__(self) -> Self:
        """Start to listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        shut(self._listener)  # closing alone would leave the thread in accept(), and the port open
        self._listener.close()
        self.origin.close()

    @property
    def url(self) -> str:
        """What to give to libgit2."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/{self.secret}"

    def _accept(self) -> None:
        while True:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            self.origin.keep(client)
            threading.Thread(target=self._serve, args=(client, address), daemon=True).start()

    def _serve(self, client: socket.socket, address: object) -> None:
        with client, suppress(OSError):  # libgit2 may hang up at any time
            _Handler(client, address, self)


class _HungUp(Exception):
    """libgit2 wants no more; that is no fault of the server's."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of libgit2's, kept alive, and its session with the origin."""

    protocol_version = "HTTP/1.1"

    def __init__(self, client: socket.socket, address: object, relay: Relay) -> None:
        self.relay, self.session = relay, Session(relay.origin)
        try:
            super().__init__(client, address, relay)  # type: ignore[arg-type]  # it only keeps the server
        finally:
            self.session.close()

    def do_GET(self) -> None:
        self._relay(LISTING, b"")

    def do_POST(self) -> None:
        self._relay(FETCH, self._body())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""

    def _relay(self, suffix: str, body: bytes) -> None:
        self.close_connection = True  # unless all goes well
        if self.path != f"/{self.relay.secret}{suffix}":
            self.send_error(403)
            return
        headers = {name: value for name in PASSED if (value := self.headers.get(name))}
        try:
            with self.session.ask(self.command, suffix, headers, body) as answer:
                self._pass_on(answer)
        except _HungUp:
            return
        except Problem as problem:
            self._fail(problem)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._fail(self.relay.origin.problem(error))

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        self._write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: %b\r\n\r\n"
            % " ".join((answer.getheader("Content-Type") or "").split()).encode("latin-1")
        )
        while data := answer.read1(CHUNK):
            self._write(b"%x\r\n%b\r\n" % (len(data), data))
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        self._write(b"0\r\n\r\n")
        self.close_connection = False

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
        except OSError:
            raise _HungUp from None

    def _fail(self, problem: Problem) -> None:
        self.relay.problem = self.relay.problem or problem
        with suppress(_HungUp):
            self._write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def _body(self) -> bytes:
        """Read what is posted: what we want and have, some kilobytes."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)
