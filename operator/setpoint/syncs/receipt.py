"""Takes the objects that the worker made, and checks what everybody relies on (shell: lets others have their turn)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from setpoint.api.reasons import Problem, Reason
from setpoint.plan.desired import Rendered
from setpoint.wall.messages import Made
from setpoint.wall.receipt import breach

BATCH: Final = 200
"""Objects that are checked in one turn of the event loop."""


async def received(objects: Sequence[Made]) -> list[Rendered]:
    """Return objects as they came. Raises Problem for one that no worker of ours would send."""
    for start in range(0, len(objects), BATCH):
        if start:
            await asyncio.sleep(0)
        for number, made in enumerate(objects[start : start + BATCH], start + 1):
            if why := breach(made.manifest):
                text = f"object {number} of what the worker made {why}, so nothing of it is used"
                raise Problem(Reason.InternalError, text)
    return [Rendered(made.manifest, made.where) for made in objects]
