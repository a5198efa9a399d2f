"""Finds where a Git server is, and connects only where the rules allow it (shell, in the child process).

A name is resolved once: the addresses that are judged are those that are connected to, so nobody can answer otherwise in between.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from setpoint.api.addresses import Address, literal
from setpoint.api.hosts import HostRules, choose, refusal
from setpoint.git.credentials import keys_of
from setpoint.git.remotes import Remote, Repository
from setpoint.git.worker.errors import denied

LOOPBACK = "127.0.0.1"
CHUNK = 256 * 1024
CONNECT_SECONDS = 20.0
MOST = 8  # addresses of one name that are tried
VOUCHED = 16  # addresses in known_hosts; libssh2 reads lines of 4 kB


def addresses(remote: Remote, rules: HostRules) -> list[Address]:
    """Return the addresses of a server that may be connected to, in the resolver's order; socket.gaierror.

    Problem(HostDenied) if there is none.
    """
    found, why = choose(
        _placed(rules, remote.port), remote.host, _resolved(remote.host, remote.port), remote.port
    )
    if not found:
        raise denied(remote, why or "its name has no address")
    return found[:MOST]


def check_unresolved(remote: Remote, rules: HostRules) -> None:
    """Judge a server whose name a proxy will resolve, as far as its name is an address; Problem(HostDenied)."""
    if why := refusal(_placed(rules, remote.port), remote.host, None, remote.port):
        raise denied(remote, why)


def connect(remote: Remote, rules: HostRules) -> socket.socket:
    """Connect to the first address that answers; OSError, Problem(HostDenied)."""
    failed = OSError("no address")
    for each in addresses(remote, rules):
        try:
            return socket.create_connection((str(each), remote.port), CONNECT_SECONDS)
        except OSError as error:
            failed = error
    raise failed


@contextmanager
def bridged(address: Address, port: int) -> Iterator[int]:
    """Lead one connection to a port of loopback on to an address; OSError if that does not answer."""
    with (
        socket.create_server((LOOPBACK, 0)) as listener,
        socket.create_connection((str(address), port), CONNECT_SECONDS) as there,
    ):
        there.settimeout(None)
        listener.settimeout(CONNECT_SECONDS)
        both = threading.Thread(target=_bridge, args=(listener, there), daemon=True)
        both.start()
        try:
            yield listener.getsockname()[1]
        finally:
            for each in (listener, there):  # nobody may have come
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            both.join()


def _bridge(listener: socket.socket, there: socket.socket) -> None:
    with suppress(OSError):
        here, _ = listener.accept()
        with here:
            back = threading.Thread(target=_copy, args=(there, here), daemon=True)
            back.start()
            _copy(here, there)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Send on what comes, until either side has enough; then that is told to both."""
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def vouch(home: Path, repository: Repository, found: list[Address]) -> None:
    """Let libgit2 find the host keys of a name under its addresses, and no others: in known_hosts below `home`.

    Addresses of before stay for a while, as another operation may be on its way to them; all are of the one name of this process.
    Call it under a lock.
    """
    file, remote = home / ".ssh" / "known_hosts", repository.remote
    names = [LOOPBACK, *(str(each) for each in found)]  # the former for what is `bridged`
    with suppress(OSError):
        before = file.read_text().partition(" ")[0].split(",")
        if set(names) <= set(before):
            return
        names += [each for each in before if each and each not in names]
    keys = keys_of(repository.credentials.known_hosts, remote.host, remote.port)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = file.with_name("known_hosts.new")
    partial.write_text("".join(f"{','.join(names[:VOUCHED])} {key}\n" for key in keys))
    partial.replace(file)


def _resolved(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is too long
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
    texts = [f"{at[0]}%{at[3]}" if len(at) == 4 and at[3] else str(at[0]) for *_, at in found]
    return [ip_address(each) for each in dict.fromkeys(texts)]


def _placed(rules: HostRules, port: int) -> HostRules:
    """Return the rules with the addresses of the API server, if a port of it is asked for."""
    names = [host for host, own in rules.api if own == port and literal(host) is None]
    found: list[Address] = []
    for name in names:
        with suppress(OSError):
            found += _resolved(name, port)
    return replace(rules, api=(*rules.api, *((str(each), port) for each in found))) if found else rules
