"""Health of pods, in the kubelet's words (pure)."""

from __future__ import annotations

import re

from setpoint.health.verdict import (
    Object,
    Verdict,
    condition,
    conditions,
    degraded,
    healthy,
    items,
    mapping,
    number,
    progressing,
    text,
)

_FINISHED = ("Succeeded", "Failed")
_STUCK = frozenset(
    [
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "PostStartHookError",
        "PreCreateHookError",
        "PreStartHookError",
        "RegistryUnavailable",
        "RunContainerError",
        "SignatureValidationFailed",
        "StartError",
    ]
)
"""Waiting reasons of the kubelet and the container runtime that do not pass by waiting alone."""

_IMAGE = frozenset(r for r in _STUCK if "Image" in r or "Registry" in r or "Signature" in r)
# Since Kubernetes 1.32 the kubelet quotes what the last try came to (pkg/kubelet/images/image_manager.go).
_BACK_OFF = re.compile(r'Back-off pulling image "[^"]*": (\w+): (.*)', re.DOTALL)


def is_finished(pod: Object) -> bool:
    """Return whether the containers of a pod ran and will not run again."""
    return text(mapping(pod, "status"), "phase") in _FINISHED


def is_image(reason: str) -> bool:
    """Whether a reason says that an image cannot be pulled."""
    return reason in _IMAGE


def pod(obj: Object) -> Verdict:
    """Judge a Pod by its phase, its readiness and what keeps its containers from running."""
    status = mapping(obj, "status")
    phase = text(status, "phase")
    if phase == "Succeeded":
        return healthy("Succeeded", "completed")
    if phase == "Failed":
        return degraded(
            text(status, "reason") or "Failed", text(status, "message") or _exit(status) or "failed"
        )
    if stuck := _stuck(status):
        return stuck
    scheduled, ready = condition(status, "PodScheduled"), condition(status, "Ready")
    if scheduled and scheduled.status == "False" and scheduled.reason == "Unschedulable":
        return degraded("Unschedulable", scheduled.words)
    if phase == "Running" and ready and ready.status == "True":
        return healthy("Ready", "running and ready")
    if ready and ready.status == "False" and phase == "Running":
        return progressing(ready.reason or "NotReady", ready.words)
    return progressing(
        phase or "Pending", _first_waiting(status) or f"the pod is {(phase or 'pending').lower()}"
    )


def stuck(obj: Object) -> Verdict | None:
    """Return what keeps a container of a Pod from running, in words that stay while nothing changes; None if nothing does.

    Without the kubelet's waits, which grow, and without what one failure quotes of the next.
    """
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in items(mapping(obj, "status"), key):
            reason, message = _waits(container)
            if reason in _STUCK:
                said = f"{reason}{_cause(container, reason, message)}"
                return degraded(reason, f"container {text(container, 'name')}: {said}")
    return None


def _waits(container: Object) -> tuple[str, str]:
    """Return why a container waits, and in which words: those of the last try to pull, also until the next one."""
    waiting = mapping(container, "state", "waiting")
    reason, message = text(waiting, "reason"), text(waiting, "message")
    tried = _BACK_OFF.fullmatch(message)
    return (tried[1], tried[2]) if tried and is_image(tried[1]) else (reason, message)


def homeless(obj: Object) -> Verdict | None:
    """Return why no node takes a Pod, in the scheduler's words; a node may come, so that is no failure. None if one has taken it."""
    scheduled = condition(mapping(obj, "status"), "PodScheduled")
    if scheduled is None or scheduled.status != "False" or scheduled.reason != "Unschedulable":
        return None
    # What follows says that nothing would be won by evicting others.
    return progressing("Unschedulable", f"unschedulable: {scheduled.words.partition('. preemption:')[0]}")


def _cause(container: Object, reason: str, message: str) -> str:
    last = mapping(container, "lastState", "terminated")
    if is_image(reason):
        # The end of the chain is the answer of the registry.
        _, found, answer = message.rpartition(": ")
        return f" {text(container, 'image')}" + (f" ({answer})" if found and len(answer) < 60 else "")
    if reason == "CrashLoopBackOff":
        why = text(last, "message") or text(last, "reason")
        return f" (exit code {number(last, 'exitCode')}{f': {why}' if why not in ('', 'Error') else ''})"
    return f": {message}" if message else ""


def _stuck(status: Object) -> Verdict | None:
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in items(status, key):
            waiting = mapping(container, "state", "waiting")
            reason = text(waiting, "reason")
            if reason in _STUCK:
                return degraded(reason, f"container {text(container, 'name')}: {_words(container, waiting)}")
    return None


def _words(container: Object, waiting: Object) -> str:
    """Return the kubelet's words for a waiting container, and how it ended the last time."""
    last = mapping(container, "lastState", "terminated")
    said = text(waiting, "message") or text(waiting, "reason")
    if not last:
        return said
    why = text(last, "message") or text(last, "reason")
    return f"{said} (last exit code {number(last, 'exitCode')}{': ' + why if why else ''})"


def _exit(status: Object) -> str:
    for container in items(status, "containerStatuses"):
        ended = mapping(container, "state", "terminated")
        if number(ended, "exitCode"):
            reason = text(ended, "message") or text(ended, "reason")
            return f"container {text(container, 'name')}: exit code {number(ended, 'exitCode')}: {reason}"
    return ""


def _first_waiting(status: Object) -> str:
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in items(status, key):
            reason = text(mapping(container, "state", "waiting"), "reason")
            if reason:
                return f"container {text(container, 'name')}: {reason}"
    return next((c.message for c in conditions(status) if c.status == "False" and c.message), "")
