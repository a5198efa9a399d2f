"""Whether Syncs that fail delay those that do not: commits and edits, alone and beside as many failing ones."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tests.bench import workload
from tests.bench.actions import SECONDS, Actions
from tests.bench.client import Json, together
from tests.bench.fleet import image, image_is_back, one_app_commits
from tests.bench.report import Figure, Figures
from tests.bench.stage import repository, staged

COMMITS = 15
EDITS = 40
REASONS = {
    "render": "RenderFailed",
    "admission": "AdmissionDenied",
    "rollout": "Progressing",
    "git": "SourceNotReady",
}
"""Sorts of failures, and what Ready says of each."""
REJECTED = "bench.setpoint.dev/rejected"


def figures(count: int) -> Sequence[Figure]:
    """What is measured. `count` is of healthy Syncs, and of failing ones."""
    return (
        Figure("alone_commit_s", f"{count} healthy Syncs alone: a commit, asked to applied, median", "s"),
        Figure("alone_seen_s", "  of that, from the revision seen to applied", "s"),
        Figure("alone_edit_ms", "  an edit by hand until corrected, median", "ms"),
        Figure("failing", "failing Syncs beside them"),
        Figure("beside_commit_s", "  a commit, asked to applied, median", "s"),
        Figure("beside_seen_s", "  of that, from the revision seen to applied", "s"),
        Figure("beside_edit_ms", "  an edit by hand until corrected, median", "ms"),
        Figure("commit_ratio", "commits: beside against alone", "x", 1.5),
        Figure("seen_ratio", "  from the revision seen to applied", "x", 1.5),
        Figure("edit_ratio", "edits: beside against alone", "x", 1.5),
        Figure("failing_requests", "idle beside them: requests a minute"),
        Figure("failing_cpu_percent", "  CPU, of one core", "%"),
    )


async def run(count: int, *, idle_seconds: float, say: Callable[[str], None]) -> Figures:
    """Measure; `say` hears how far it is."""
    found = Figures()
    healthy = [workload.name_of(n) for n in range(count)]
    failing = [(sort, f"{sort}-{n:05}") for n in range(max(1, count // 4)) for sort in REASONS]
    files = {
        **workload.repository(count),
        **{p: t for s, name in failing for p, t in _files(s, name).items()},
    }
    async with staged() as stage:
        with repository(files) as (repo, url), stage.operator() as operator:
            do = Actions(stage, operator, repo)
            await do.source(url)
            say(f"{count} healthy Syncs")
            await do.install([workload.sync(name) for name in healthy])
            await _latency(do, healthy, "alone", found)
            say(f"{len(failing)} failing Syncs")
            await _fail(do, failing)
            requests, percent = await do.idle(idle_seconds)
            await _latency(do, healthy, "beside", found)
    found.put("failing", len(failing))
    found.put("failing_requests", requests)
    found.put("failing_cpu_percent", percent)
    for what in ("commit_s", "seen_s", "edit_ms"):
        found.put(f"{what.partition('_')[0]}_ratio", found[f"beside_{what}"] / found[f"alone_{what}"])
    return found


async def _latency(do: Actions, names: Sequence[str], when: str, found: Figures) -> None:
    _, waits = await one_app_commits(do, names, COMMITS, tag=when, rest=False)
    found.put(f"{when}_commit_s", statistics.median(asked for asked, _ in waits))
    found.put(f"{when}_seen_s", statistics.median(seen for _, seen in waits))
    took = []
    for number in range(EDITS):
        path = do.client.path("Deployment", workload.TARGET, names[number * 7 % len(names)])
        took.append(await do.reverted(path, do.client.edit(path, image(f"by-hand-{number}")), image_is_back))
    found.put(f"{when}_edit_ms", statistics.median(took) * 1000)


async def _fail(do: Actions, failing: Sequence[tuple[str, str]]) -> None:
    """Make the failing ones, and wait until each says what is wrong."""
    for policy in _policy():
        await do.client.apply(policy)
    await do.client.apply(workload.source("https://127.0.0.1:1/nowhere", name="nowhere"))
    await together(do.client.apply(_sync(sort, name)) for sort, name in failing)
    path = do.client.path("Sync", workload.HOME)
    for sort, reason in REASONS.items():
        names = [name for s, name in failing if s == sort]
        await do.client.until_all(path, names, partial(_says, reason))


def _says(reason: str, sync: Json) -> bool:
    conditions = (sync.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["reason"] == reason for c in conditions)


def _sync(sort: str, name: str) -> Json:
    spec: dict[str, Any] = {"timeout": f"{SECONDS:g}s"}
    if sort == "git":
        spec["source"] = {"name": "nowhere"}
    return workload.sync(name, **spec)


def _files(sort: str, name: str) -> dict[str, str]:
    if sort == "render":
        return {f"apps/{name}/broken.yaml": "apiVersion: v1\nkind: [ConfigMap\n"}
    if sort == "admission":
        meta = {"name": name, "labels": {REJECTED: "true"}}
        made: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        return {f"apps/{name}/config.yaml": json.dumps(made)}
    if sort == "rollout":
        deployment = next(o for o in workload.objects(name) if o["kind"] == "Deployment")
        spec = {**deployment["spec"], "replicas": 1}
        return {f"apps/{name}/deployment.yaml": json.dumps({**deployment, "spec": spec})}
    return {}


def _policy() -> list[Json]:
    """What rejects an object with a label."""
    api, name = "admissionregistration.k8s.io/v1", {"name": "bench-rejects"}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"],
    }
    wrong = f"!has(object.metadata.labels) || !('{REJECTED}' in object.metadata.labels)"
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": wrong, "message": "rejected by the bench"}],
    }
    binding = {"policyName": name["name"], "validationActions": ["Deny"]}
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": name, "spec": policy},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": name, "spec": binding},
    ]
