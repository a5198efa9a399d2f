"""How many requests the operator makes, as the API server itself counts them.

FlowSchemas of our own match the operator's account and the accounts that it impersonates (flow control comes after
impersonation), one schema for each kind of request; `apiserver_flowcontrol_dispatched_requests_total` has a counter
for each. A dry run is a write to flow control: `apiserver_request_total` tells it apart, and nobody else makes any.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
PREFIX = "bench-"
_LINE = re.compile(r"^(\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)
_PAIR = re.compile(r'(\w+)="([^"]*)"')
ANY = ["*"]


def _rule(verbs: Sequence[str], groups: Sequence[str] = ANY, resources: Sequence[str] = ANY) -> Json:
    scope = {"namespaces": ANY, "clusterScope": True}
    return {
        "resourceRules": [
            {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources), **scope}
        ]
    }


# The first that matches counts.
RULES: dict[str, Json] = {
    "lease": _rule(ANY, ["coordination.k8s.io"], ["leases"]),
    "watch": _rule(["watch"]),
    "event": _rule(ANY, ["", "events.k8s.io"], ["events"]),
    "list": _rule(["list"]),
    "get": _rule(["get"]),
    "delete": _rule(["delete", "deletecollection"]),
    "write": _rule(ANY),
    "discovery": {"nonResourceRules": [{"verbs": ANY, "nonResourceURLs": ANY}]},
}
FREE = frozenset({"lease", "watch"})
"""What budgets do not count."""


def schemas(users: Sequence[str]) -> list[Json]:
    """The FlowSchemas; `users` are names as the API server knows them."""
    subjects = [{"kind": "User", "user": {"name": user}} for user in users]
    return [
        {
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
            "kind": "FlowSchema",
            "metadata": {"name": PREFIX + name},
            "spec": {
                "matchingPrecedence": 100 + number,
                # That of all service accounts, so that the operator is queued as it would be anywhere.
                "priorityLevelConfiguration": {"name": "workload-low"},
                "distinguisherMethod": {"type": "ByUser"},
                "rules": [{"subjects": subjects, **rule}],
            },
        }
        for number, (name, rule) in enumerate(RULES.items())
    ]


def read(metrics: str) -> Counter[str]:
    """Counts by kind of request, from the text of the API server's /metrics."""
    found: Counter[str] = Counter()
    for name, labels, value in _LINE.findall(metrics):
        if name == "apiserver_flowcontrol_dispatched_requests_total":
            schema = dict(_PAIR.findall(labels))["flow_schema"]
            if schema.startswith(PREFIX):
                found[schema.removeprefix(PREFIX)] += int(float(value))
        elif name == "apiserver_request_total" and 'dry_run="All"' in labels:
            found["dry-run"] += int(float(value))
            found["write"] -= int(float(value))
    return found


def total(counts: Counter[str]) -> int:
    """All that budgets count."""
    return sum(number for name, number in counts.items() if name not in FREE)


def writes(counts: Counter[str]) -> int:
    """What changed something, besides the lease."""
    return counts["write"] + counts["delete"] + counts["event"]
