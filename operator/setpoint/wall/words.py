"""Texts that cross the seam: how long they may be, and how they are made so (pure)."""

from __future__ import annotations

from typing import Final

MAX_LINE: Final = 1024
"""Bytes of `where`, a single printable line."""
MAX_WORDS: Final = 2 * 1024
"""Bytes of a text for people."""


def line(text: str) -> str:
    """Return a text as one printable line of at most MAX_LINE bytes: what is not printable is escaped, the rest cut off."""
    shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text[: MAX_LINE + 1])
    return shortened(shown, MAX_LINE)


def shortened(text: str, limit: int = MAX_WORDS) -> str:
    """Return a text of at most so many bytes, with the rest cut off."""
    if fits(text, limit):
        return text
    return text[:limit].encode(errors="replace")[: limit - 3].decode(errors="ignore") + "..."


def fits(text: str, limit: int) -> bool:
    """Return whether a text has at most so many bytes."""
    return len(text) <= limit and len(text.encode(errors="replace")) <= limit
