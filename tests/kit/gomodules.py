"""Content of Go modules for tests: what people install, from where the programs of a cluster come, pinned by its checksum.

No copy lies in the tree. A module is fetched once, and `go` keeps it in its own cache.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECONDS = 300


class UnavailableError(RuntimeError):
    """A module cannot be had here; the message says why."""


@dataclass(frozen=True)
class Module:
    """A version of a module, and the checksum that a go.sum would have for it."""

    path: str
    version: str
    checksum: str

    @property
    def name(self) -> str:
        """How `go` names it."""
        return f"{self.path}@{self.version}"

    def folder(self) -> Path:
        """Return where its files lie, read only; fetches them first. Raises UnavailableError."""
        found = _fetched(self.name)
        if found.get("Sum") != self.checksum:
            raise UnavailableError(f"{self.name} has the checksum {found.get('Sum')}, not {self.checksum}")
        return Path(found["Dir"])


@functools.cache
def _fetched(name: str) -> dict[str, str]:
    go = shutil.which("go")
    if go is None:
        raise UnavailableError("go is not on PATH")
    # The checksum above is compared with ours, so no database of checksums has to be asked.
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "", "GONOSUMDB": "*"}
    with tempfile.TemporaryDirectory() as folder:  # in no module, so that nothing else is asked for
        try:
            done = subprocess.run(
                [go, "mod", "download", "-json", name],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"{name} did not come within {SECONDS} s") from None
    try:
        found: dict[str, str] = json.loads(done.stdout)
    except ValueError:
        raise UnavailableError(f"{name}: {done.stderr.strip()[-300:]}") from None
    if error := found.get("Error"):
        raise UnavailableError(error)
    return found
