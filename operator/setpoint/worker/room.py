"""Watches what the broker's children take, and ends who takes too much (async shell around `fences.allowances`).

It looks often while a child is at work, seldom while none is, and never when there is none. Whoever ends a child for what it
took is not asked again: its `Watched` says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from setpoint.fences.allowances import Allowance, Excess, Spell, Use, excess, largest
from setpoint.fences.memory import Sample, held, sample
from setpoint.runtime.disk import taken

log = logging.getLogger(__name__)
BUSY_SECONDS: Final = 0.05
IDLE_SECONDS: Final = 2.0
COUNT_SECONDS: Final = 1.0
"""At most so often are the files of a child counted."""


@dataclass(slots=True, eq=False)
class Watched:
    """A child, the last that was seen of it, and why it was ended, if it was."""

    pid: int
    allowance: Allowance
    kill: Callable[[], object]
    kind: str
    spell: Spell
    looked: float
    counted: float
    counting: asyncio.Task[None] | None = None
    use: Use = field(default_factory=Use)
    excess: Excess | None = None

    @property
    def active(self) -> bool:
        """Whether it is at work, and was not ended."""
        return self.spell.busy and self.excess is None

    def end(self, why: Excess) -> None:
        """Kill it, once."""
        if self.excess is None:
            self.excess = why
            self.kill()


class Watch:
    """The children of one event loop. A pid that is not watched (any more) is nothing to it."""

    def __init__(
        self,
        groups: Mapping[tuple[str, ...], int] | None = None,
        look: Callable[[int], Sample | None] = sample,
        count: Callable[[int, Allowance], int] | None = None,
        allowances: Mapping[str, Allowance] | None = None,
    ) -> None:
        """`groups`: bytes of memory that the children of some kinds may take together; `allowances`: of each child of a kind that
        `began`.
        """
        self._allowances = allowances or {}
        self._groups, self._sample, self._count = groups or {}, look, count or scratch
        self._children: dict[int, Watched] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, pid: int, allowance: Allowance, kill: Callable[[], object], kind: str = "") -> Watched:
        """Watch a child until it is removed; `kill` is called once if it takes too much."""
        self.remove(pid)
        now = asyncio.get_running_loop().time()
        child = Watched(pid, allowance, kill, kind, Spell(now), now, now - COUNT_SECONDS)
        self._children[pid] = child
        self._schedule()
        return child

    def began(self, pid: int, kind: str, kill: Callable[[], object]) -> None:
        """Watch a new child of a kind whose allowance is known."""
        seen = self._sample(pid)
        shared = seen.memory if seen else 0  # it has just been forked: what it has is its launcher's
        self.add(pid, replace(self._allowances[kind], shared=shared), kill, kind)

    def remove(self, pid: int) -> None:
        """Watch a child no more; it ended, or is nobody's business."""
        child = self._children.pop(pid, None)
        if child and child.counting:
            child.counting.cancel()
        if not self._children and self._timer:
            self._timer.cancel()
            self._timer = None

    def busy(self, pid: int) -> None:
        """Note that a child has a task more; with the first begins a spell of work."""
        self._note(pid, Spell.begin)

    def idle(self, pid: int) -> None:
        """Note that a child has a task less."""
        self._note(pid, Spell.end)

    @contextmanager
    def working(self, pid: int) -> Iterator[None]:
        """Let a child be at work within the block."""
        self.busy(pid)
        try:
            yield
        finally:
            self.idle(pid)

    @contextmanager
    def paused(self, pid: int) -> Iterator[None]:
        """Let one task of a child wait for the broker within the block: its time stands if no other task runs."""
        child = self._children.get(pid)
        self._note(pid, Spell.wait)
        try:
            yield
        finally:
            if child is not None and self._children.get(pid) is child:
                self._note(pid, Spell.resume)

    @property
    def all(self) -> Iterable[Watched]:
        """All that are watched."""
        return self._children.values()

    def why(self, pid: int) -> Excess | None:
        """Return what a watched child was ended for, or None."""
        child = self._children.get(pid)
        return child.excess if child else None

    def _note(self, pid: int, change: Callable[[Spell, float], None]) -> None:
        if child := self._children.get(pid):
            change(child.spell, asyncio.get_running_loop().time())
            self._schedule()

    # --- looking

    def _schedule(self) -> None:
        """Look again in time for those at work; sooner than that is left as it is."""
        if not self._children:
            return
        loop = asyncio.get_running_loop()
        active = any(child.active for child in self._children.values())
        due = loop.time() + (BUSY_SECONDS if active else IDLE_SECONDS)
        if self._timer and self._timer.when() <= due:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for child in list(self._children.values()):
            if child.excess is None and (child.active or now - child.looked >= IDLE_SECONDS - BUSY_SECONDS):
                self._see(child, now)
        for kinds, limit in self._groups.items():
            self._together(kinds, limit)
        self._schedule()

    def _see(self, child: Watched, now: float) -> None:
        """Look at one child, end it if it takes too much, and have its files counted if that is due."""
        child.looked = now
        seen = self._sample(child.pid)
        if seen is None:
            return
        spent = child.spell.processor(seen.processor, now), child.spell.seconds(now)
        child.use = Use(seen.memory, seen.threads, child.use.scratch, *spent)
        self._judge(child)
        due = now - child.counted >= COUNT_SECONDS and child.counting is None
        if child.excess is None and child.allowance.folder and due:
            child.counting = asyncio.create_task(self._files(child))

    def _judge(self, child: Watched) -> None:
        if found := excess(child.use, child.allowance):
            child.end(found)

    def _together(self, kinds: tuple[str, ...], limit: int) -> None:
        members = [each for each in self._children.values() if each.kind in kinds and each.excess is None]
        own = {each: max(0, each.use.memory - each.allowance.shared) for each in members}
        if found := largest(own, limit):
            found[0].end(found[1])

    async def _files(self, child: Watched) -> None:
        try:
            total = await asyncio.to_thread(self._count, child.pid, child.allowance)
        except OSError as error:
            log.warning("the files of a child cannot be counted: %s", error.strerror)
            return
        finally:
            child.counting, child.counted = None, asyncio.get_running_loop().time()
        child.use = replace(child.use, scratch=total)
        self._judge(child)


def scratch(pid: int, allowance: Allowance) -> int:
    """Return the bytes that a child holds in files of its folder, and in files that are in none; it stops when that is too much."""
    if allowance.folder is None:
        return 0
    hidden = held(pid, str(allowance.folder))
    return hidden + taken(allowance.folder, max(0, allowance.scratch - hidden))
