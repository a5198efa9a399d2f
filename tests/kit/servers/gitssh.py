"""Git over SSH: `sshd` where it is installed, else asyncssh in front of `git upload-pack`.

In: a folder of bare repositories. Out: a URL for each, a private key that may log in, and the known_hosts of
the server. Both kinds need no root, and behave the same; `SETPOINT_TEST_SSH=sshd|asyncssh` chooses one.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.kit.servers import sshd
from tests.kit.servers.asyncssh_server import AsyncSshServer
from tests.kit.servers.repo import Repo
from tests.kit.servers.threaded import LOOPBACK


class SshServer(Protocol):
    """What runs behind a `GitSsh`; `start` gives the port."""

    def start(self, host_key: Path, authorized_keys: Path) -> int: ...
    def stop(self) -> None: ...
    def logins(self) -> int: ...


class GitSsh:
    """Serves every bare repository below `root`; keys and configuration live in `folder`; `host` is the address to listen on."""

    def __init__(self, root: Path, folder: Path, *, host: str = LOOPBACK) -> None:
        root.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.root, self.folder, self.host = root, folder, host
        self.port = 0
        self.user = "git"
        self._authorized = folder / "authorized_keys"
        self._authorized.touch(mode=0o600)
        self._host_key = self.key("host_key")
        self.identity = self.key("identity")
        self.authorize(self.identity)
        self._server = self._choose()

    def start(self) -> Self:
        """Listen on a free port."""
        self.port = self._server.start(self._host_key, self._authorized)
        return self

    def stop(self) -> None:
        """End the server and its connections."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def known_hosts(self) -> str:
        """The line that makes clients trust this server."""
        return self.known_hosts_with(self._host_key)

    def known_hosts_with(self, key: Path) -> str:
        """A line that names this server with any key, the wrong one for instance."""
        kind, value, *_ = key.with_name(f"{key.name}.pub").read_text().split()
        return f"[{self.host}]:{self.port} {kind} {value}\n"

    def key(self, name: str, *, kind: str = "ed25519", passphrase: str = "") -> Path:
        """A new private key in OpenSSH's format, its public half beside it; nobody is let in by it yet."""
        path = self.folder / name
        size = ["-b", "3072"] if kind == "rsa" else []
        command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", name, "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return path

    def authorize(self, key: Path) -> None:
        """Let in who has this private key, from the next connection on."""
        with self._authorized.open("a") as file:
            file.write(key.with_name(f"{key.name}.pub").read_text())

    def repo(self, name: str, *, any_sha: bool = False) -> Repo:
        """Create a repository, served at `url(name)`."""
        return Repo(self.root / f"{name}.git", any_sha=any_sha)

    def url(self, name: str) -> str:
        """Where that repository is served; it need not exist."""
        return f"ssh://{self.user}@{self.host}:{self.port}{self.root.absolute()}/{name}.git"

    def logins(self) -> int:
        """How many connections were authenticated so far."""
        return self._server.logins()

    def command(self, identity: Path | None = None) -> str:
        """A value of GIT_SSH_COMMAND that trusts this server alone and logs in with that key."""
        trusted = self.folder / "known_hosts"
        trusted.write_text(self.known_hosts)
        options = ["IdentitiesOnly=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={trusted}"]
        options += ["BatchMode=yes", "GlobalKnownHostsFile=/dev/null"]
        flags = " ".join(f"-o {option}" for option in options)
        return f"ssh -F /dev/null -i {identity or self.identity} {flags}"

    def _choose(self) -> SshServer:
        wanted = os.environ.get("SETPOINT_TEST_SSH", "")
        binary = None if wanted == "asyncssh" else sshd.ensure_sshd()
        if binary is None and wanted == "sshd":
            raise FileNotFoundError("SETPOINT_TEST_SSH=sshd, but there is no sshd: install openssh-server")
        if binary is None:
            return AsyncSshServer(self.root, self.host)
        self.user = sshd.current_user()  # without root, sshd lets in nobody else
        return sshd.Sshd(binary, self.folder, self.host)
