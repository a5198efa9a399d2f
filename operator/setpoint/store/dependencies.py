"""Finds the Sync that another one waits for (pure, over stored bodies)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from setpoint.objects.bodies import Body, dependency_keys
from setpoint.objects.identity import SyncKey
from setpoint.status.conditions import condition_of

Seen = Callable[[SyncKey, Body], bool]


def waits_for(key: SyncKey, bodies: Mapping[SyncKey, Body], seen: Seen) -> str | None:
    """Return in words which Sync `key` waits for; None if all it depends on are Ready.

    `seen` tells whether a Sync was evaluated at its newest generation and at the commit that matters. Of a Sync of
    another namespace nothing is told but that it is not Ready: neither its message, nor whether it exists.
    """
    for other in dependency_keys(bodies[key]):
        body = bodies.get(other)
        if other.namespace != key.namespace and key not in upstream(other, bodies):
            if not (body is not None and is_ready(body) and seen(other, body)):
                return f"Sync {other} is not Ready, or does not exist"
            continue
        if body is None:
            return f"Sync {other} does not exist"
        if key in upstream(other, bodies):
            return f"dependsOn forms a cycle through Sync {other}; remove one of its links"
        if not is_ready(body):
            ready = condition_of(body.get("status") or {}, "Ready")
            return f"Sync {other} is not Ready" + (f": {ready['message']}" if ready else " yet")
        if not seen(other, body):
            return f"Sync {other} has not seen this commit yet"
    return None


def is_ready(body: Body) -> bool:
    """Return whether a Sync says that it is Ready."""
    ready = condition_of(body.get("status") or {}, "Ready")
    return ready is not None and ready["status"] == "True"


def upstream(key: SyncKey, bodies: Mapping[SyncKey, Body]) -> set[SyncKey]:
    """Return all that a Sync depends on, directly or through others."""
    found: set[SyncKey] = set()
    todo = [key]
    while todo:
        body = bodies.get(todo.pop())
        for other in dependency_keys(body) if body else ():
            if other not in found:
                found.add(other)
                todo.append(other)
    return found
