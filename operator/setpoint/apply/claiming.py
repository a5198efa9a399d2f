"""What is claimed before something is written: the right to write it, and that it begins, if it ends by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from setpoint.apply.dry_run import DryRun
from setpoint.health.ends.end import may_end
from setpoint.objects.identity import Manifest, ObjectId
from setpoint.plan.desired import Desired

Writes = Sequence[tuple[Desired, Manifest]]
"""Objects that are written next, each with what the API server will make of it, as far as that is known."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be written, and whether the identity may write it.

    `begins`: what may end by itself and is written next; `passed`: its dry run says that it may be written; `untried`:
    it cannot be asked for yet, as a Namespace or a kind is not there.
    """

    begins: Writes = ()
    passed: frozenset[ObjectId] = frozenset()
    untried: frozenset[ObjectId] = frozenset()


ClaimInventory = Callable[[Intent], Awaitable[None]]


class Claims:
    """The claims of one run, in the order of its stages.

    That an object begins which ends by itself is claimed with its stage and no earlier: a crash would count what a
    wave still holds as done.
    """

    def __init__(self, claim: ClaimInventory) -> None:
        self._claim = claim
        self._begun: set[ObjectId] = set()

    async def first(
        self, writes: Iterable[DryRun], passed: frozenset[ObjectId], untried: frozenset[ObjectId]
    ) -> None:
        """Claim before anything is written; `writes` are those of the first stage, if it begins now."""
        await self._claim(Intent(self._new(writes), passed, untried))

    async def passed(self, passed: frozenset[ObjectId]) -> None:
        """Claim what could not be tried before its stage."""
        if passed:
            await self._claim(Intent(passed=passed))

    async def begin(self, writes: Iterable[DryRun]) -> None:
        """Claim what begins with these writes."""
        if begins := self._new(writes):
            await self._claim(Intent(begins))

    def _new(self, writes: Iterable[DryRun]) -> Writes:
        new = [
            c
            for c in writes
            if may_end(c.desired.id.group, c.desired.id.kind) and c.desired.id not in self._begun
        ]
        self._begun.update(c.desired.id for c in new)
        return tuple((c.desired, c.predicted or c.desired.manifest) for c in new)
