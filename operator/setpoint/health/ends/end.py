"""When an object ends by itself, and how (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from setpoint.health.ends.kinds import OWN_ENDS, OwnEnd, Path
from setpoint.health.evaluate import evaluate
from setpoint.health.pods import is_finished
from setpoint.health.verdict import Health, Object, Verdict, condition, group_kind, items, mapping, text

SLACK = 2
"""Seconds by which clocks may differ: who deletes at the due time, who wrote the finish, and who judges are three
processes. Clocks that are kept in time agree to far less; the rest is for times that have whole seconds."""

LONGEST = 10**9
"""Seconds, some thirty years: what is later is never seen, and no time is beyond what can be written."""

LATEST = 253402300799
"""The last second of the year 9999: no later time can be written."""

_DURATION = re.compile(r"(\d{1,9})(?:\.\d{1,9})?(h|m|s|ms)")
_UNITS = {"h": 3600, "m": 60, "s": 1, "ms": 0}


@dataclass(frozen=True, slots=True)
class End:
    """What counts of an object that ends by itself; times are seconds since 1970."""

    least: int | None
    """After how many seconds at least an object goes that begins now; None if nobody can tell."""
    finished: int | None = None
    due: int | None = None
    """From when on it may be deleted because it is finished; None if it is not."""
    result: Verdict | None = None
    """Its health at the finish."""

    @property
    def failed(self) -> bool:
        """Whether it finished, and failed."""
        return self.result is not None and self.result.health is Health.Degraded


def may_end(group: str, kind: str) -> bool:
    """Return whether objects of a kind may end by themselves."""
    return (group, kind) in OWN_ENDS


def end_of(obj: Object) -> End | None:
    """Return what counts of an object that ends by itself; None of any other; never raises, whatever the shape."""
    rule = OWN_ENDS.get(group_kind(obj))
    if rule is None or _serves(obj):
        return None
    paths = (*rule.ttl, *rule.succeeded, *rule.failed)
    lasts = [s for path in paths if (s := _seconds(_at(obj, path))) is not None]
    least = min(lasts) if lasts else rule.always
    if least is None and not rule.collected:
        return None
    return _finish(obj, rule, End(least))


def requested_at(obj: Object) -> int | None:
    """Return when an object was told to go; None if it was not."""
    meta = mapping(obj, "metadata")
    at, grace = _time(meta.get("deletionTimestamp")), _seconds(meta.get("deletionGracePeriodSeconds"))
    return None if at is None else at - (grace or 0)


def leaving(obj: Object, end: End | None) -> Verdict | None:
    """Return the result of an object that is being deleted because its own end was due; None of any other."""
    requested = requested_at(obj)
    if requested is None or end is None or end.due is None or requested + SLACK < end.due:
        return None
    return end.result


def _finish(obj: Object, rule: OwnEnd, end: End) -> End:
    finished, requested = _finished(obj, rule), requested_at(obj)
    # What finishes after it was told to go was cut off.
    if finished is None or (requested is not None and finished > requested):
        return end
    meta = {k: v for k, v in mapping(obj, "metadata").items() if k != "deletionTimestamp"}
    end = replace(end, finished=finished, result=evaluate({**obj, "metadata": meta}))
    due = _time(_at(obj, rule.due)) if rule.due else None
    if due is None and (lasts := _lasts(obj, rule, failed=end.failed)) is not None:
        due = finished + lasts
    # A tenant may write any time into a status of its own; what is before 1970 is due in any case.
    return replace(end, due=None if due is None else min(max(due, 0), LATEST))


def _lasts(obj: Object, rule: OwnEnd, *, failed: bool) -> int | None:
    paths = (*(rule.failed if failed else rule.succeeded), *rule.ttl)
    found = next((s for p in paths if (s := _seconds(_at(obj, p))) is not None), rule.always)
    return 0 if found is None and rule.collected else found


def _finished(obj: Object, rule: OwnEnd) -> int | None:
    if group_kind(obj) == ("", "Pod"):
        return _pod_finished(obj)
    times = [_time(_at(obj, path)) for path in rule.finished]
    status = mapping(obj, "status")
    if not any(t is not None for t in times):
        times = [_since(status, kind) for kind in rule.conditions]
    return next((t for t in times if t is not None), None)


def _since(status: Object, kind: str) -> int | None:
    found = condition(status, kind)
    if found is None or found.status != "True":
        return None
    last = [c for c in items(status, "conditions") if c.get("type") == kind][-1]
    return _time(last.get("lastTransitionTime"))


def _serves(obj: Object) -> bool:
    """Return whether a Pod is one that never ends by itself."""
    policy = text(mapping(obj, "spec"), "restartPolicy")
    return group_kind(obj) == ("", "Pod") and policy not in ("Never", "OnFailure")


def _pod_finished(obj: Object) -> int | None:
    """Return when the last container of a Pod ended; None of one that was evicted, or lost its node."""
    status = mapping(obj, "status")
    disrupted = condition(status, "DisruptionTarget")
    if not is_finished(obj) or (disrupted and disrupted.status == "True"):
        return None
    ends = [
        _time(mapping(c, "state", "terminated").get("finishedAt")) for c in items(status, "containerStatuses")
    ]
    started = _time(status.get("startTime"))
    known: Iterable[int] = [t for t in (*ends, started) if t is not None]
    return max(known, default=_time(mapping(obj, "metadata").get("creationTimestamp")))


def _at(obj: Object, path: Path) -> Any:
    return mapping(obj, *path[:-1]).get(path[-1])


def _seconds(value: Any) -> int | None:
    """Read a number of seconds, as a number or a text, or a duration of Go."""
    if isinstance(value, str) and len(value) <= 40:
        if value.isascii() and value.isdigit():
            value = int(value)
        elif value and not _DURATION.sub("", value):
            value = sum(int(n) * _UNITS[unit] for n, unit in _DURATION.findall(value))
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None
    return min(value, LONGEST)


def _time(value: Any) -> int | None:
    """Read a time of the API (RFC 3339) as whole seconds since 1970."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        return int(found.timestamp()) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
