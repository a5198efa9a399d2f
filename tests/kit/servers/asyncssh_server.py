"""An SSH server in this process, for machines without sshd: keys are checked, `git upload-pack` is served.

It has an event loop in a thread of its own, so that tests need not be asynchronous.
"""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Callable
from pathlib import Path

import asyncssh
from tests.kit.servers.repo import ENVIRONMENT

# Each name once. asyncssh's default offer repeats names, which overflows a buffer of libssh2 (and so libgit2)
# when the client's key is RSA: the client dies of `free(): invalid next size`.
SIGNATURES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")


class AsyncSshServer:
    """Serves what is below `root` to whoever has an authorized key, whatever the user name."""

    def __init__(self, root: Path, host: str) -> None:
        self._host = host
        self._root = root.resolve()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncssh")
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._authorized = Path()
        self._open: set[asyncssh.SSHServerConnection] = set()
        self._logins = 0

    def start(self, host_key: Path, authorized_keys: Path) -> int:
        """Listen; the port."""
        self._authorized = authorized_keys
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._listen(host_key), self._loop).result()

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def logins(self) -> int:
        """How many connections were authenticated."""
        return self._logins

    async def _listen(self, host_key: Path) -> int:
        self._acceptor = await asyncssh.listen(
            self._host,
            0,
            server_factory=lambda: _Login(self._authorized, self._count, self._open),
            server_host_keys=[str(host_key)],
            signature_algs=SIGNATURES,
            process_factory=self._serve,
            encoding=None,
        )
        return int(self._acceptor.get_port())

    async def _close(self) -> None:
        if self._acceptor:
            self._acceptor.close()
            await self._acceptor.wait_closed()
        for connection in tuple(self._open):
            connection.abort()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    def _count(self) -> None:
        self._logins += 1

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        try:
            folder = self._repository(process.command or "")
        except ValueError as error:
            process.stderr.write(f"{error}\n".encode())
            process.exit(128)
            return
        protocol = process.env.get("GIT_PROTOCOL", "")
        backend = await asyncio.create_subprocess_exec(
            "git",
            "upload-pack",
            str(folder),
            env={**ENVIRONMENT, "GIT_PROTOCOL": str(protocol)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            process.exit(await _talk(process, backend))
        except (ConnectionError, asyncssh.Error):
            return  # the client left, which tests of time limits do
        finally:
            if backend.returncode is None:
                backend.kill()
                await backend.wait()

    def _repository(self, command: str) -> Path:
        match shlex.split(command):
            case ["git-upload-pack" | "git upload-pack", name] | ["git", "upload-pack", name]:
                folder = Path(name).resolve()
            case _:
                raise ValueError(f"only git-upload-pack is served here, not: {command}")
        if not folder.is_relative_to(self._root) or not folder.is_dir():
            raise ValueError(f"fatal: '{name}' does not appear to be a git repository")
        return folder


async def _talk(process: asyncssh.SSHServerProcess[bytes], backend: asyncio.subprocess.Process) -> int:
    """Connect client and program until the program ends; its exit code."""
    assert backend.stdin
    assert backend.stdout
    assert backend.stderr
    incoming = asyncio.create_task(_feed(process.stdin, backend.stdin))
    try:
        outgoing = (_copy(backend.stdout, process.stdout), _copy(backend.stderr, process.stderr))
        await asyncio.gather(*outgoing)
    finally:
        incoming.cancel()
        await asyncio.wait([incoming])
    return await backend.wait()


async def _copy(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()


async def _feed(source: asyncssh.SSHReader[bytes], target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except (ConnectionError, asyncssh.Error):
        return  # either side has ended, which `_talk` notices by the program's output
    finally:
        target.close()


class _Login(asyncssh.SSHServer):
    """Reads the authorized keys for each connection, as sshd does."""

    def __init__(
        self, authorized: Path, count: Callable[[], None], connections: set[asyncssh.SSHServerConnection]
    ) -> None:
        self._keys = authorized.read_text().split()[1::3]
        self._count = count
        self._connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._connection)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key.export_public_key().decode().split()[1] in self._keys

    def auth_completed(self) -> None:
        self._count()
