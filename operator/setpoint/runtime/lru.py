"""A bounded, thread-safe cache for answers that depend on their key alone (pure)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Keeps the values that were used last, as long as their weights add up to at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """Return the value, or None if it is not kept (any more)."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, weight: int = 1) -> V:
        """Keep a value, if it is not heavier than everything together may be; returns it back."""
        with self._lock:
            self._used -= self._kept.pop(key, (value, 0))[1]
            if weight <= self._limit:
                self._kept[key] = value, weight
                self._used += weight
            while self._used > self._limit:
                self._used -= self._kept.popitem(last=False)[1][1]
        return value

    def drop(self, key: K) -> None:
        """Drop a value that nobody will ask for."""
        with self._lock:
            _, weight = self._kept.pop(key, (None, 0))
            self._used -= weight

    def drop_if(self, unwanted: Callable[[K], bool]) -> None:
        """Drop all values whose keys are unwanted; that looks at each key."""
        with self._lock:
            for key in [each for each in self._kept if unwanted(each)]:
                self._used -= self._kept.pop(key)[1]

    def __len__(self) -> int:
        return len(self._kept)
