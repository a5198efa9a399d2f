"""What is remembered of a Source between checks: its last good commit, and what came of the others (pure)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from setpoint.api.reasons import Problem
from setpoint.sources.artifact import Artifact
from setpoint.wall.messages import Login


@dataclass(slots=True)
class SourceMemory:
    """One Source's cache: all of it is rebuilt after a restart."""

    uid: str | None = None
    """Whose memory it is; None as long as only Syncs have spoken of it."""
    current: Artifact | None = None
    held: bool = False
    """Whether the cache has that commit, as far as anybody found out."""
    told: Artifact | None = None
    """The last good commit that the Syncs were told of."""
    login: Login | None = None
    generation: int = -1
    due: float = 0.0
    answered: str | None = None
    trouble: Problem | None = None
    """Why the last check failed."""
    settled: set[str] = field(default_factory=set)
    """Older commits that were fetched, or that cannot be had; whoever wants them is not told yet."""
    refused: set[str] = field(default_factory=set)
    """Older commits that the server does not give."""
    postponed: dict[str, None] = field(default_factory=dict)
    """Older commits that failed; they come last, as they may keep others back that would not fail."""

    def got(self, artifact: Artifact, *, held: bool = True) -> None:
        """Note the last good commit, which a check has just found."""
        self.current, self.held = artifact, held

    def lost(self, artifact: Artifact) -> bool:
        """Note that the cache does not have a commit; returns whether that is news. One that was found since, be it the same one, stays."""
        news = self.current is artifact and self.held
        self.held = self.held and not news
        return news

    def postpone(self, sha: str) -> None:
        """Move an older commit that failed to the end."""
        self.postponed.pop(sha, None)
        self.postponed[sha] = None

    def settle(self, sha: str) -> None:
        """Note that an older commit came, or cannot be had."""
        self.postponed.pop(sha, None)
        self.settled.add(sha)

    def postponed_last(self, wanted: Collection[str]) -> list[str]:
        """Return commits in the order in which to try them; what is wanted no more is postponed no more."""
        self.postponed = {sha: None for sha in self.postponed if sha in wanted}
        return [*(sha for sha in wanted if sha not in self.postponed), *self.postponed]


def sole_handle(memory: SourceMemory | None, all_: Iterable[SourceMemory]) -> str | None:
    """Return the handle of a Source's commit if no other Source has it, too."""
    if memory is None or memory.current is None:
        return None
    handle = memory.current.handle
    shared = (
        other.current is not None and other.current.handle == handle for other in all_ if other is not memory
    )
    return None if any(shared) else handle
