"""The last good commit of a Source, as Syncs use it (pure data)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Artifact:
    """The last good commit of a Source in this process; `handle` names its mirror, for the worker."""

    handle: str
    sha: str
    revision: str
    submodules: bool
