"""How large a message may be as a whole, and what it takes of the memory of whoever receives it (pure).

A few bytes of JSON can be many values: an empty list has 3 bytes with its comma, and takes 70. So values are counted as well as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from setpoint.api.budgets import DEFAULTS, MIB
from setpoint.wall import inside as i
from setpoint.wall import messages as m
from setpoint.wall.frames import MAX_HEAD
from setpoint.wall.words import MAX_LINE

VALUE: Final = 90
"""Bytes of memory that a value of JSON takes at most beside its text (decision 48 has what was measured)."""
_WIDEST: Final = 4
"""Bytes of memory of each character of a text in which one needs so many."""
_AROUND: Final = MAX_LINE + 80
"""Bytes of an answer for each object, beside its manifest: where it stands, and the names of the fields."""
_FIELDS: Final = 12
"""Values of an answer for each object, beside its manifest."""
_LEAST: Final = 4 * MIB

SIZES: Final[Mapping[type[Any], int]] = {
    **dict.fromkeys((m.Welcome, m.Failed, m.Lost, m.Checked, m.Fetched, m.Same, m.Stats), MAX_HEAD),
    **dict.fromkeys((i.Describe, i.Described, i.Links, i.Run, i.Damaged), MAX_HEAD),
    **dict.fromkeys((m.Hello, m.Check, m.Fetch, m.Objects, m.Places, i.Linked), _LEAST),
    m.Placed: 32 * MIB,
}
"""Bytes of a whole message of these types; those of others are for who receives them to say."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is taken of the other side: bytes and values of one message, and bytes of memory of all that are not whole yet."""

    size: int
    values: int
    memory: int

    @classmethod
    def of(cls, render_size: int, objects: int, values: int) -> Self:
        """Return what answers need by these budgets: bytes of manifests, objects, values."""
        most = max(values + _FIELDS * objects, _LEAST // 40)
        size = max(render_size + _AROUND * objects, _LEAST)
        return cls(size, most, _WIDEST * max(render_size, _LEAST) + VALUE * most)


DEFAULT: Final = Bounds.of(DEFAULTS.max_render_size, DEFAULTS.max_objects, DEFAULTS.max_yaml_values)
"""What the budgets allow that nobody changed."""


def memory(body: bytes, values: int) -> int:
    """Return how many bytes of memory the JSON of a frame takes at most, with so many values."""
    narrow = body.isascii() and b"\\u" not in body
    return len(body) * (1 if narrow else _WIDEST) + VALUE * values
