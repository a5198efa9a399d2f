"""What a fleet is made of: N folders of four objects, and a Sync for each (pure)."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]
HOME = "bench"
TARGET = "bench-apps"
ACCOUNT = "deployer"
IMAGE = "registry.example.org/app:1.0"
LABEL = "app.kubernetes.io/part-of"


def name_of(number: int) -> str:
    """The name of one application."""
    return f"app-{number:05}"


def objects(name: str, image: str = IMAGE) -> list[Json]:
    """One application: ServiceAccount, Service, Ingress, and a Deployment without replicas."""
    labels = {"app.kubernetes.io/name": name, LABEL: "bench"}
    meta = {"name": name, "labels": labels}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": _ingress(name)},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": _deployment(labels, name, image),
        },
    ]


def _ingress(name: str) -> Json:
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    return {"rules": [{"host": f"{name}.example.org", "http": {"paths": paths}}]}


def _deployment(labels: Json, name: str, image: str) -> Json:
    container = {
        "name": "app",
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "APP", "value": name}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
    }
    return {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"serviceAccountName": name, "containers": [container]},
        },
    }


def files(name: str, image: str = IMAGE) -> dict[str, str]:
    """The folder of one application: a file for each object (JSON is YAML)."""
    return {f"apps/{name}/{o['kind'].lower()}.yaml": json.dumps(o, indent=1) for o in objects(name, image)}


def repository(count: int) -> dict[str, str]:
    """All folders."""
    return {path: text for n in range(count) for path, text in files(name_of(n)).items()}


def source(url: str, interval: str = "1m", name: str = "repo") -> Json:
    """The Source of all, or another."""
    spec = {"url": url, "ref": {"branch": "main"}, "interval": interval}
    return _resource("Source", name, spec)


def sync(name: str, **spec: Any) -> Json:
    """The Sync of one application."""
    base = {
        "source": {"name": "repo"},
        "path": f"./apps/{name}",
        "targetNamespace": TARGET,
        "serviceAccountName": ACCOUNT,
    }
    return _resource("Sync", name, {**base, **spec})


def _resource(kind: str, name: str, spec: Json) -> Json:
    meta = {"name": name, "namespace": HOME}
    return {"apiVersion": "setpoint.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


def status(name: str) -> Json:
    """A status as large as the operator's after an install, for the floor."""
    revision = {
        "revision": f"main@sha1:{'0' * 40}",
        "short": "main@0000000",
        "digest": "0" * 24,
        "at": "2026-01-01T00:00:00Z",
    }
    condition = {
        "status": "True",
        "reason": "Succeeded",
        "message": "4/4 healthy",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    inventory = [
        {"apiVersion": o["apiVersion"], "kind": o["kind"], "namespace": TARGET, "names": [name]}
        for o in objects(name)
    ]
    history = {
        "revision": revision["revision"],
        "started": revision["at"],
        "finished": revision["at"],
        "result": "Healthy",
        "changed": 4,
        "trigger": "Commit",
    }
    return {
        "observedGeneration": 1,
        "desired": revision,
        "applied": {**revision, "ownership": "0" * 24},
        "healthy": revision,
        "summary": {"objects": 4, "synced": 4, "healthy": 4, "drifted": 0, "corrected": 0},
        "inventory": inventory,
        "history": [history],
        "conditions": [{"type": t, **condition} for t in ("Ready", "Synced", "Healthy")],
    }
