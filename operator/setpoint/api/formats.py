"""Formats of revisions, durations and times (pure).

A revision is `main@sha1:<40 hex>` for machines, `main@1a2b3c4` for people.
"""

from __future__ import annotations

from datetime import datetime

from setpoint.api.reasons import Problem, Reason


def rfc3339_millis(now: datetime) -> str:
    """Return a time with milliseconds, for the ledger of drift."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def rfc3339(now: datetime) -> str:
    """Return an RFC 3339 time in UTC, in whole seconds, as Kubernetes writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def short(revision: str) -> str:
    """Return the short form: `main@sha1:1a2b3c4d...` -> `main@1a2b3c4`."""
    ref, _, sha = revision.rpartition("@")
    return f"{ref}@{sha.removeprefix('sha1:')[:7]}" if ref else sha.removeprefix("sha1:")[:7]


def seconds(duration: str) -> float:
    """Return the seconds of a Go duration such as `1h30m` or `500ms`; Problem(InvalidSpec) if it is none."""
    total, number = 0.0, ""
    rest = duration
    while rest:
        head = next((u for u in UNITS if rest.startswith(u) and number), None)
        if head:
            total, number, rest = total + float(number) * UNITS[head], "", rest[len(head) :]
        elif rest[0].isdigit() or rest[0] == ".":
            number, rest = number + rest[0], rest[1:]
        else:
            break
    if rest or number or not duration:
        raise Problem(Reason.InvalidSpec, f"{duration!r} is not a duration; write it as 30s, 5m or 1h30m")
    return total
