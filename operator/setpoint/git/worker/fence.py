"""What a process that talks to a Git server may see of the machine (shell, in the child process).

Beside its home and its mirror: libraries, how names are resolved, and which authorities are trusted, all read-only. Rules
of Landlock hold for the files that were there when they were made. A file that is replaced later is out of sight, so a
child whose ground has changed must end (`Ground.stands`).
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from setpoint.fences import policy
from setpoint.fences.landlock import Access, Grant

RESOLVING: Final = tuple(
    f"/etc/{name}"
    for name in ("hosts", "host.conf", "resolv.conf", "nsswitch.conf", "gai.conf", "services", "protocols")
)
AUTHORITIES: Final = (
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls",
    "/etc/pki/ca-trust",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
)

Place = tuple[str, tuple[int, int] | None]
"""A path, and the file that it leads to (device and inode), if any."""


def readable() -> list[Grant]:
    """Return what every child may read, if it is there."""
    found = ssl.get_default_verify_paths()
    trusted = (found.cafile, found.capath, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    # Python imports some modules when they are needed first, as for names of hosts that are not ASCII.
    paths = (*policy.LIBRARIES, *sys.path, *RESOLVING, *AUTHORITIES, *trusted)
    return [Grant(path, Access.READ) for path in dict.fromkeys(paths) if path and os.path.exists(path)]


@dataclass(frozen=True, slots=True)
class Ground:
    """The places that this process is fenced to, as they were then."""

    places: tuple[Place, ...]

    @classmethod
    def fenced(cls, message: dict[str, Any]) -> Self:
        """Fence this process to what a request grants and what every child may read; OSError if it cannot be."""
        more = readable()
        ground = cls(_places([*policy.granted(message), *more]))
        policy.enter(message, more, network=True)
        return ground

    def stands(self) -> bool:
        """Return whether every place still is the one that was fenced to."""
        return all(_file(path) == file for path, file in self.places)


def _places(grants: Sequence[Grant]) -> tuple[Place, ...]:
    return tuple((each.path, _file(each.path)) for each in grants)


def _file(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        found = Path(path).stat()
        return found.st_dev, found.st_ino
    return None
