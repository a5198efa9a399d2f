"""Takes the objects that the worker made, and checks what everybody relies on (shell: lets others have their turn)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from setpoint.api.reasons import Problem, Reason
from setpoint.plan.desired import Rendered
from setpoint.runtime.beside import beside
from setpoint.wall.messages import Made
from setpoint.wall.receipt import breach

BATCH: Final = 200
"""Objects that are checked in one turn of the event loop."""


async def received(objects: Sequence[Made]) -> list[Rendered]:
    """Return objects as they came. Raises Problem for one that no worker of ours would send."""
    for start in range(0, len(objects), BATCH):
        if start:
            await asyncio.sleep(0)
        batch = objects[start : start + BATCH]
        if flaw := await beside(partial(_flaw, batch), *(made.manifest for made in batch)):
            at, why = flaw
            text = f"object {start + at} of what the worker made {why}, so nothing of it is used"
            raise Problem(Reason.InternalError, text)
    return [Rendered(made.manifest, made.where) for made in objects]


def _flaw(objects: Sequence[Made]) -> tuple[int, str] | None:
    """Return the number of the first object that must not be taken, from 1, and why; None if all may be."""
    breaches = ((number, breach(made.manifest)) for number, made in enumerate(objects, 1))
    return next(((number, why) for number, why in breaches if why), None)
