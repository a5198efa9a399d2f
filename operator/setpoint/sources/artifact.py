"""The last good commit of a Source, as Syncs use it (pure data)."""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.git.remotes import Repository


@dataclass(frozen=True, slots=True)
class Artifact:
    """The last good commit of a Source in this process."""

    repository: Repository
    sha: str
    revision: str
    submodules: bool
