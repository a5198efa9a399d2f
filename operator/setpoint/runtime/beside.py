"""Does work on large values beside the event loop (shell): in a thread, so that others have their turn meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

T = TypeVar("T")
LARGE: Final = 5_000
"""Values, of maps and lists of any depth, from which a thread is worth its while: they take some ten milliseconds."""
_CONTAINERS: Final = (dict, list, tuple)


async def beside(work: Callable[[], T], *values: Any) -> T:
    """Return what `work` returns, which is pure and looks at `values`: in a thread if they are large, else at once.

    A thread gives the event loop its turn every five milliseconds, but not within one call of C.
    """
    return await asyncio.to_thread(work) if is_large(values) else work()


def is_large(value: Any, most: int = LARGE) -> bool:
    """Return whether JSON has more than `most` values; no more than that are looked at."""
    level: list[Any] = [value]
    left = most
    while level:
        below: list[Any] = []
        for each in level:
            left -= len(each)
            if left < 0:
                return True
            below += (item for item in _items(each) if isinstance(item, _CONTAINERS))
        level = below
    return False


def _items(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container
