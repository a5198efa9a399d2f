"""What is remembered of a Source between checks: its last good commit, and who waits for what (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field

from setpoint.api.reasons import Problem
from setpoint.git.credentials import Credentials
from setpoint.objects.identity import SyncKey
from setpoint.sources.artifact import Artifact


@dataclass(slots=True)
class SourceMemory:
    """One Source's cache: all of it is rebuilt after a restart."""

    uid: str | None = None
    """Whose memory it is; None as long as only Syncs have spoken of it."""
    current: Artifact | None = None
    told: Artifact | None = None
    """The last good commit that the Syncs were told of."""
    credentials: Credentials | None = None
    generation: int = -1
    due: float = 0.0
    answered: str | None = None
    asked: dict[SyncKey, str] = field(default_factory=dict)
    done: dict[SyncKey, str] = field(default_factory=dict)
    trouble: Problem | None = None
    """Why the last check failed."""
    waiting: set[SyncKey] = field(default_factory=set)
    """Syncs that found the last good commit gone from the cache; they run when it is back."""
    older: dict[str, set[SyncKey]] = field(default_factory=dict)
    """Commits to fetch once more, with the Syncs that asked."""
    settled: set[SyncKey] = field(default_factory=set)
    """Syncs that asked for a commit which was fetched, or which cannot be fetched."""
    refused: set[str] = field(default_factory=set)

    def of(self, uid: str) -> SourceMemory:
        """Return the memory for a Source: this one, or if it is another's that had the same name, a new one.

        Of the former nothing but those who wait is kept.
        """
        if self.uid in (None, uid):
            self.uid = uid
            return self
        waiting = self.waiting.union(self.settled, *self.older.values())
        return SourceMemory(uid, asked=self.asked, done=self.done, waiting=waiting)

    def asks(self) -> frozenset[tuple[SyncKey, str] | str]:
        """Return what is asked for now: checks, by the Sync and its request, and older commits."""
        return frozenset(self.asked.items()) | frozenset(self.older)

    def answer(self, asks: frozenset[tuple[SyncKey, str] | str]) -> set[SyncKey]:
        """Note that a check is done that began when this was asked for; returns the Syncs that asked for it."""
        answered = {sync: request for sync, request in self.asked.items() if (sync, request) in asks}
        self.asked = {sync: request for sync, request in self.asked.items() if sync not in answered}
        self.done |= answered
        return set(answered)

    def postpone(self, sha: str) -> None:
        """Move an older commit that failed to the end: it may keep others back that would not fail."""
        if sha in self.older:
            self.older[sha] = self.older.pop(sha)

    def unwant(self, sync: SyncKey, sha: str) -> None:
        """Note that a Sync does not need an older commit any more."""
        waiting = self.older.get(sha, set())
        waiting.discard(sync)
        if not waiting:
            self.older.pop(sha, None)
