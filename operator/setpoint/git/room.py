"""Makes room on the cache volume: drops the mirrors that were used longest ago (async shell)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from setpoint.git import mirror as git_mirror
from setpoint.git.mirror import Mirror
from setpoint.runtime import disk
from setpoint.runtime.lru import Lru

LEAST_ROOM = 2**20  # bytes that are made room for at least
VAIN_SECONDS = 3600.0  # for which a namespace has no mirrors dropped, after that was in vain
MAX_VAIN = 10_000  # namespaces of which that is remembered
FORGED = 4  # times the limit of all mirrors: more is in no mirror that a fetch of ours made
HEADROOM = 0.9  # of the free space that a pack may fill; its index needs some too

Release = Callable[[str], Awaitable[None]]
"""Has whoever reads mirrors of a namespace let go of those that it does not need."""


class Room:
    """The room for mirrors in a cache folder."""

    def __init__(self, cache: Path, limit: int, release: Release, written: Callable[[Mirror], bool]) -> None:
        """`limit`: bytes that all mirrors may take together; `written`: whether anybody is there who may write to one."""
        self._cache, self._limit, self._release, self._written = cache, limit, release, written
        self._vain: Lru[str, float] = Lru(MAX_VAIN)

    def left(self) -> int:
        """Return the bytes that one pack may take."""
        try:
            return min(self._limit, int(shutil.disk_usage(self._cache).free * HEADROOM))
        except OSError:
            return self._limit

    def failed(self, namespace: str) -> None:
        """Note that mirrors were dropped for a namespace, and in vain."""
        self._vain.put(namespace, asyncio.get_running_loop().time() + VAIN_SECONDS)

    async def make(self, namespace: str, used: Mirror, room: int) -> bool:
        """Drop mirrors for a fetch into `used` that needs more than `room` bytes; tells whether there is more now.

        None is dropped for a namespace for which that was in vain, nor where not even the empty cache would do.
        """
        if asyncio.get_running_loop().time() < (self._vain.get(namespace) or 0.0):
            return False
        most = await asyncio.to_thread(self._most, used)
        if most <= room:
            return False
        wanted = min(most, max(2 * room, LEAST_ROOM))
        return await self._drop(used, lambda _: self.left() >= wanted)

    async def trim(self, used: Mirror) -> None:
        """Drop mirrors, but not `used`, until all together are as small as they should be."""
        await self._drop(used, lambda total: total <= self._limit)

    def _most(self, used: Mirror) -> int:
        """Return the bytes that one pack could take if all other mirrors were dropped."""
        others = sum(size for mirror, size in self._sizes().items() if mirror != used)
        try:
            free = shutil.disk_usage(self._cache).free
        except OSError:
            return 0  # the cache went away: nothing is there that could be too much
        return min(self._limit, int((free + others) * HEADROOM))

    async def _drop(self, used: Mirror, enough: Callable[[int], bool]) -> bool:
        """Drop the mirrors that were used longest ago, but for `used`, until the bytes of all are few enough.

        Tells whether any was dropped. Those that are still read after all were asked to let go are dropped if the others are
        not enough, and first of all, also `used`, what no mirror comes to, as somebody wrote there what he liked.
        """
        sizes = await asyncio.to_thread(self._sizes)
        forged = {mirror for mirror, size in sizes.items() if size > self._forged}
        dropped = [mirror for mirror in forged if await self._dropped(mirror, read=True)]
        left = [mirror for mirror in sizes if mirror not in forged and mirror != used]
        total = sum(size for mirror, size in sizes.items() if mirror not in forged)
        for read in (False, True):
            for mirror in left:
                if enough(total):
                    return bool(dropped)
                if await self._dropped(mirror, read=read):
                    dropped.append(mirror)
                    total -= sizes[mirror]
            left = [mirror for mirror in left if mirror not in dropped]
        return bool(dropped)

    async def _dropped(self, mirror: Mirror, *, read: bool) -> bool:
        if self._written(mirror):
            return False
        if await asyncio.to_thread(mirror.drop):
            return True
        # Who has read it before holds it until something else is read.
        await self._release(mirror.namespace)
        return await asyncio.to_thread(mirror.drop, read=read)

    @property
    def _forged(self) -> int:
        """More bytes than a mirror comes to, with its old generations."""
        return FORGED * self._limit

    def _sizes(self) -> dict[Mirror, int]:
        """Return the bytes of each mirror, the one used longest ago first; of one that cannot be looked into, too many."""
        try:
            found = git_mirror.mirrors(self._cache)
        except OSError:
            return {}
        return {mirror: self._size(mirror) for mirror in found}

    def _size(self, mirror: Mirror) -> int:
        try:
            return disk.taken(mirror.path, self._forged)
        except OSError:
            return self._forged + 1
