"""One timer that calls back once, for an event that nothing else reports (shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Bell:
    """Rings once, at the earliest time that was asked for."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def ring_after(self, seconds: float | None) -> None:
        """Ring after so many seconds; None asks for nothing. Whoever asks while it is set never asks for an earlier time."""
        if seconds is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._rung)

    def stop(self) -> None:
        """Do not ring any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rung(self) -> None:
        self._timer = None
        self._ring()
