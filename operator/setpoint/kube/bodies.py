"""Reads the JSON that the API server sends, however large (shell: lets others have their turn)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from setpoint.kube.errors import ApiError

LARGE: Final = 256 * 1024
"""Bytes of JSON that take milliseconds to read."""


class Bodies:
    """The bodies that one client reads: of large ones no more than one in a turn of the event loop."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._reading = asyncio.Lock()

    async def read(self, text: bytes) -> dict[str, Any]:
        """Return a JSON object; what is done with a large one has another turn than what it takes to read it. Raises ApiError."""
        if len(text) <= LARGE:
            return _read(text)
        async with self._reading:
            await asyncio.sleep(0)
            document = _read(text)
        await asyncio.sleep(0)
        return document


def _read(text: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ApiError(
            0, "Garbled", "the answer of the API server is not JSON: is something else at its address?"
        )
    return document
