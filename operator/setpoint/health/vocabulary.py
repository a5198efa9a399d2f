"""The meaning of words in phases, reasons and messages, which controllers choose freely (pure)."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache


class Sense(Enum):
    """What a word means for health."""

    GOOD = "good"
    BUSY = "busy"
    BAD = "bad"
    PAUSED = "paused"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    NEUTRAL = "neutral"


_SPLIT = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z']+|[A-Z]+|[0-9]+")

_BAD = re.compile(
    r"\b(fail(s|ed|ing|ure|ures)?|err(ors?|ored)?|invalid\w*|degraded|unhealthy|crash\w*|back ?off|denied|forbidden"
    r"|unauthorized|unauthenticated|rejected|conflict(s|ed|ing)?|(no longer|does(n't| not)) exists?|not (be )?found|missing"
    r"|cannot|can't|unable|could(n't| not)|unreachable|refused|time ?d ?out|timeout|exceed(s|ed)|expired|abort(ed|ing)?|lost"
    r"|broken|unsupported|not (supported|allowed|permitted|valid|accepted|compliant|healthy)|mismatch(ed)?|misconfigured"
    r"|incorrect|illegal|malformed|unschedulable|evicted|fatal|critical|violations?|violated|non ?compliant|stalled"
    r"|warn(ing)?|exception|disrupted|impaired|dead|corrupt(ed)?|undeployable|inaccessible|incompatible|quota|bad|red"
    r"|cancell?ed|already exists|not \w+ (properly|correctly)|no \w+ (was |were |has been )?found|no \w+ could|panic|oom|killed|locked|unknown field|out of sync|insufficient|unresolved|no such)\b"
)
_NO_FAULT = re.compile(
    r"\b(no|0|zero|without( any)?|not) (fail(ed|ures?)|err(ors?|ored)|conflicts?|violations?|warnings?)\b"
)
_BUSY = re.compile(
    r"\b(progress(ing)?|pending|waiting|wait(s|ed)? for|awaiting|creating|updating|upgrading|deleting|(re|de)?provisioning"
    r"|(re|un)?initiali[sz](e|ing)|init|bootstrapping|reconciling|(un|re)?installing|(re)?starting|stopping|scaling( (up|down))?"
    r"|rolling|rollout|rollback|restoring|(re|un)?deploying|terminating|(re)?sync(ing|hroni[sz]ing)|(re)?issuing|requested"
    r"|scheduling|scheduled|queued|submitted|not yet|applying|(re)?configuring|preparing|(re)?building|cloning|importing"
    r"|import scheduled|pending rerun|copying|downloading|uploading|pulling|migrating|moving|rebalancing|expanding|resizing|recovering"
    r"|repairing|healing|validating|verifying|checking|(re)?connecting|joining|binding|attaching|detaching|mounting"
    r"|maintenance|modifying|changing|replacing|renewing|rotating|draining|setting up|processing|partial(ly)?|retrying"
    r"|switchover|becoming|refreshing|registering|discovering|transitioning|evaluating|promoting|pausing|resuming"
    r"|not complete|propagating|converting|finali[sz]ing|yellow|restarting|rebooting|new)\b"
)
_PAUSED = re.compile(
    r"\b(paused?|suspend(ed)?|stopped|halted|hibernat(ed|ing)|unmanaged|shut ?down|inactive|on hold|held|(waiting|awaiting|needs|requires)( for)?( \w+){0,2} approval|manual (approval|intervention|judgment))\b"
)
_GOOD = re.compile(
    r"\b(ready|running|healthy|ok|okay|active|available|bound|complet(ed|e)|succe(eded|ss|ssful|ssfully)|created|deployed"
    r"|provisioned|synced|synchroni[sz]ed|exists?|accepted|established|online|normal|installed|reconciled|finished|done|applied"
    r"|stable|operational|up to date|in sync|enabled|connected|valid|validated|compliant|green|serving|up|passed|configured"
    r"|initiali[sz]ed|started|attached|mounted|resolved|programmed|registered|enforced|updated|issued|approved|released"
    r"|live|optimal|alive|noop|no ?op|passing|good|fine|clean|ensured|granted|joined|published|uptodate|delivered)\b"
)
_NOT_GOOD = re.compile(
    r"\b(not|never) (yet )?(ready|available|running|complete|completed|deployed|bound|active)\b"
)
_UNKNOWN = re.compile(r"\b(unknown|inconclusive|undefined|unspecified)\b")

_EXACT = {
    "notfound": Sense.ABSENT,
    "missing": Sense.ABSENT,
    "absent": Sense.ABSENT,
    "lost": Sense.BAD,
    "unavailable": Sense.BAD,
    "failing over": Sense.BUSY,
    "installready": Sense.BUSY,
    "ready": Sense.GOOD,
    "running": Sense.GOOD,
    "active": Sense.GOOD,
    "true": Sense.GOOD,
    "false": Sense.BUSY,
    "none": Sense.NEUTRAL,
    "": Sense.NEUTRAL,
}


def split(text: str) -> str:
    """Return the words of CamelCase, snake_case or prose in lower case, joined by single blanks."""
    return " ".join(word.lower() for word in _SPLIT.findall(text[:600]))


@lru_cache(maxsize=1024)
def sense_of_state(state: str) -> Sense:
    """Return what a phase or state means, a short name like `Provisioning` or a phrase like `Cluster in healthy state`."""
    words = split(state)
    exact = _EXACT.get(words, _EXACT.get(words.replace(" ", "")))
    if exact is not None:
        return exact
    plain = _NO_FAULT.sub("", words)
    for sense, pattern in (
        (Sense.BAD, _BAD),
        (Sense.PAUSED, _PAUSED),
        (Sense.BUSY, _BUSY),
        (Sense.BUSY, _NOT_GOOD),
        (Sense.GOOD, _GOOD),
        (Sense.UNKNOWN, _UNKNOWN),
    ):
        if pattern.search(plain):
            return sense
    return Sense.NEUTRAL


def faulty(reason: str) -> bool:
    """Whether a reason speaks of a failure."""
    return sense_of_fault(reason, "") is Sense.BAD


@lru_cache(maxsize=1024)
def sense_of_fault(reason: str, message: str) -> Sense:
    """Return why a condition that should hold does not: BAD, BUSY, PAUSED or NEUTRAL; the reason before the message."""
    for words in (split(reason), split(message)):
        plain = _NO_FAULT.sub("", words)
        for sense, pattern in ((Sense.PAUSED, _PAUSED), (Sense.BAD, _BAD), (Sense.BUSY, _BUSY)):
            if pattern.search(plain):
                return sense
    return Sense.NEUTRAL


@lru_cache(maxsize=1024)
def sense_of_activity(reason: str, message: str) -> Sense:
    """Return how a condition of activity (`Progressing` is True) stands: GOOD if its words say that it has ended."""
    for words in (split(reason), split(message)):
        plain = _NO_FAULT.sub("", words)
        for sense, pattern in (
            (Sense.PAUSED, _PAUSED),
            (Sense.BAD, _BAD),
            (Sense.GOOD, _GOOD),
            (Sense.BUSY, _BUSY),
        ):
            if pattern.search(plain):
                return sense
    return Sense.BUSY


_TYPE_BAD = re.compile(
    r"^fallback$|\b(fail(ed|ure|ures|ing)?|err(or|ors|ored)?|degraded|invalid|unhealthy|stalled|pressure|violations?|conflict(ed|s)?|mismatch"
    r"|un(available|reachable|ready|resolved|schedulable|supported|authorized)|denied|rejected|crash\w*|timed ?out|timeout"
    r"|exceeded|expired|lost|dangling|overlapping(route)?|misconfigured|aborted|terminal|has errors|no matching \w+|(not|non|partially) \w+|terminated|corrupted)\b"
)
_TYPE_BUSY = re.compile(
    r"^(\w+ )*(progressing|reconciling|pending|creating|updating|upgrading|deploying|terminating|deleting|provisioning|initiali[sz]ing"
    r"|installing|scaling|scaling (up|down|in|out)|rolling out|remediating|restarting|rolling|rolling ?update|processing|issuing|in ?progress|migrating|restoring|recovering|waiting"
    r"|syncing|stopping|starting|rebalancing|resizing|rebooting|progress|pending termination|uninstalling|deletion|scaling in progress)$"
)
_TYPE_PAUSED = re.compile(
    r"^(\w+ )*(paused|suspended|hibernated|hibernation|reconciliation ?paused|halted|stopped|disabled)$"
)
_TYPE_GOOD = re.compile(
    r"^(\w+ )*(ready|available|healthy|succeeded|success|successful|synced|synchroni[sz]ed|complete|completed|established|accepted"
    r"|programmed|bound|created|installed|deployed|reconciled|valid|validated|resolved ?refs|resolved refs|initiali[sz]ed|provisioned"
    r"|configured|applied|fully applied|up ?to ?date|in ?sync|scheduled|connected|registered|established|attached|issued|published|live"
    r"|enforced|compliant|operational|running|satisfied|reachable|verified|approved|updated|done|ok|serving|propagated|admitted|finished)$"
)
_TYPE_SAYS_LITTLE = re.compile(
    r"^no (warnings?|errors?|conflicts?|failures?)$|\b(active|upgradeable|upgradable|migratable|recoverable|warnings?)\b"
)
"""Types whose being False (or True) is no fault: scaled to zero, not migratable, deprecated fields."""


@lru_cache(maxsize=1024)
def sense_of_type(kind: str) -> Sense:
    """Return what a condition type means while it is True; a domain before the type (`example.org/ready`) is dropped."""
    words = split(kind.rpartition("/")[2])
    for sense, pattern in (
        (Sense.NEUTRAL, _TYPE_SAYS_LITTLE),
        (Sense.BAD, _TYPE_BAD),
        (Sense.PAUSED, _TYPE_PAUSED),
        (Sense.BUSY, _TYPE_BUSY),
        (Sense.GOOD, _TYPE_GOOD),
    ):
        if pattern.search(words):
            return sense
    return Sense.NEUTRAL
