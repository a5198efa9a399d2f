"""OpenSSH's own server, without root and without touching the machine's configuration."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from tests.kit.ci import ROOT_IN_CI
from tests.kit.cluster import binaries
from tests.kit.cluster.processes import Child, until
from tests.kit.cluster.workspace import Workspace

START_SECONDS = 60
PRIVILEGE_SEPARATION = Path("/run/sshd")


def ensure_sshd() -> Path | None:
    """The path of sshd, if there is one; as root in CI it is installed first, by apt."""
    if found := _find():
        return found
    if not ROOT_IN_CI or shutil.which("apt-get") is None:
        return None
    binaries.cache().mkdir(parents=True, exist_ok=True)
    with binaries.lock(
        binaries.cache() / ".sshd.lock", "sshd"
    ):  # unpacked is not yet set up, and apt runs once
        if not _find():
            _install()
    return _find()


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "openssh-server"]):
        subprocess.run(["apt-get", "--quiet", *arguments], check=True, env=environment, capture_output=True)


def current_user() -> str:
    """The login name of who runs the tests."""
    return pwd.getpwuid(os.getuid()).pw_name


class Sshd:
    """One sshd, in the foreground as our child."""

    def __init__(self, binary: Path, folder: Path, host: str) -> None:
        self._binary, self._folder, self._host = binary, folder, host
        self._child: Child | None = None
        self._workspace: Workspace | None = None

    def start(self, host_key: Path, authorized_keys: Path) -> int:
        """Start it on a reserved port; the port."""
        if os.getuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)  # what the init script does
        self._workspace = Workspace("sshd")
        port = self._workspace.port()
        config = self._folder / "sshd_config"
        config.write_text(_config(self._host, port, host_key, authorized_keys))
        command: list[str | Path] = [self._binary, "-D", "-e", "-f", config]
        self._child = Child("sshd", command, self._folder / "sshd.log")
        until(lambda: _accepts(self._host, port), "sshd", START_SECONDS, [self._child])
        return port

    def stop(self) -> None:
        """Kill it with its connections."""
        if self._child:
            self._child.kill()
        if self._workspace:
            self._workspace.close()

    def logins(self) -> int:
        """Counted in its log."""
        return self._child.log.read_text(errors="replace").count("Accepted publickey") if self._child else 0


def _config(host: str, port: int, host_key: Path, authorized_keys: Path) -> str:
    options = {
        "Port": port,
        "ListenAddress": host,
        "HostKey": host_key,
        "AuthorizedKeysFile": authorized_keys,
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",  # temporary folders are below one that everybody may write
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "PermitUserEnvironment": "no",
        "AcceptEnv": "GIT_PROTOCOL",
        "LogLevel": "VERBOSE",
        "MaxStartups": "200",
    }
    return "".join(f"{key} {value}\n" for key, value in options.items())


def _find() -> Path | None:
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"]
    found = shutil.which("sshd", path=os.pathsep.join(folders))
    return Path(found) if found else None  # absolute: sshd starts itself again for each connection


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
