"""A TCP server with a thread for each connection, which stops without leaving one behind.

In: a handler class of `socketserver`, a certificate for TLS. Out: a server on a free port of loopback, or of
the address that it is given.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import sys
import threading
from types import TracebackType
from typing import Any, Self

from tests.kit.cluster.pki import Pair

LOOPBACK = "127.0.0.1"


class Server(socketserver.ThreadingTCPServer):
    """Starts with `start`, or as a context manager."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        handler: type[socketserver.BaseRequestHandler],
        tls: Pair | None = None,
        host: str = LOOPBACK,
    ) -> None:
        super().__init__((host, 0), handler)
        self.tls = tls
        self.port: int = self.server_address[1]
        self.stopping = threading.Event()
        self.errors: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Serve from now on."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name=f"server {self.port}")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection, and wait for the end of every thread."""
        self.stopping.set()
        if self._thread:
            self.shutdown()
            self._thread.join()
            self._thread = None
        with self._guard:
            for connection in self._open:
                _shut(connection)
        self.server_close()  # joins the threads

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's thread: the handshake of a slow client must not hold up the others."""
        with self._guard:
            if self.stopping.is_set():
                return  # `stop` has closed what is open, and waits for this thread
            self._open.add(request)
        try:
            if self.tls is None:
                super().finish_request(request, client_address)
            else:
                self._finish_tls(request, client_address)
        finally:
            with self._guard:
                self._open.discard(request)

    def _finish_tls(self, request: socket.socket, client_address: Any) -> None:
        assert self.tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.tls.certificate, self.tls.key)
        # A duplicate, since wrapping detaches the socket that `stop` and the base class hold.
        with context.wrap_socket(request.dup(), server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what a handler raised: clients that refuse our certificate are what some tests are about."""

        error = sys.exc_info()[1]
        if error is not None:
            self.errors.append(error)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the client was faster
