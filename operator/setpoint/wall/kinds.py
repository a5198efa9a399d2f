"""The kinds of messages: their numbers on the wire, who sends them, and which answer belongs to which request (pure data)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from setpoint.wall import inside as i
from setpoint.wall import messages as m
from setpoint.wall.frames import BODY, CANCEL, CREDIT, ENDED, FAULT, LIMITS, MAX_HEAD

REQUESTS: Final[Mapping[int, type[Any]]] = {
    16: m.Hello,
    17: m.Check,
    18: m.Fetch,
    19: m.Compare,
    20: m.Build,
    21: m.Objects,
    22: m.Places,
    23: m.Drop,
    24: i.Describe,
    25: i.Links,
    26: i.Told,
    27: i.Run,
}
ANSWERS: Final[Mapping[int, type[Any]]] = {
    32: m.Welcome,
    33: m.Failed,
    34: m.Lost,
    35: m.Checked,
    36: m.Fetched,
    37: m.Compared,
    38: m.Same,
    39: m.Built,
    40: m.Placed,
    41: i.Described,
    42: i.Linked,
    43: i.Ran,
}
NOTICES: Final[Mapping[int, type[Any]]] = {48: m.Stats, 49: i.Damaged}
"""What the answering side tells without being asked, as call 0 and in one frame."""

EXPECTED: Final[Mapping[type[Any], tuple[type[Any], ...]]] = {
    m.Hello: (m.Welcome,),
    m.Check: (m.Checked, m.Failed),
    m.Fetch: (m.Fetched, m.Lost, m.Failed),
    m.Compare: (m.Compared, m.Failed),
    m.Build: (m.Built, m.Same, m.Lost, m.Failed),
    m.Objects: (m.Built, m.Lost, m.Failed),
    m.Places: (m.Placed, m.Failed),
    m.Drop: (m.Failed,),
    i.Describe: (i.Described, m.Lost, m.Failed),
    i.Links: (i.Linked, m.Lost, m.Failed),
    i.Told: (m.Failed,),
    i.Run: (i.Ran, m.Failed),
}
"""The answers of each request. Any may fail: who answers it may be unable to."""

TYPES: Final[Mapping[int, type[Any]]] = {**REQUESTS, **ANSWERS, **NOTICES}
NUMBERS: Final[Mapping[type[Any], int]] = {message: number for number, message in TYPES.items()}
FITTING: Final[Mapping[int, frozenset[int]]] = {
    NUMBERS[request]: frozenset(NUMBERS[answer] for answer in answers)
    for request, answers in EXPECTED.items()
}
"""The same by numbers, for who passes frames on unread."""


def _limits(*kinds: int) -> dict[int, int]:
    return {kind: LIMITS.get(kind, MAX_HEAD) for kind in kinds}


TO_WORKER: Final[Mapping[int, int]] = _limits(BODY, CREDIT, CANCEL, *REQUESTS)
"""The kinds that the worker takes, with the most bytes of each."""
TO_OPERATOR: Final[Mapping[int, int]] = _limits(BODY, CREDIT, ENDED, FAULT, *ANSWERS, *NOTICES)
"""The kinds that the operator takes, with the most bytes of each."""
