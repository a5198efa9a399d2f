"""Kubeconfig files: written for our own clusters, read from anybody's.

All data is inline, so a file can be copied anywhere and stays valid.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.kit.cluster.pki import Pair


@dataclass(frozen=True)
class Endpoint:
    """What a client must know to reach a server: its URL and, for a private CA, the PEM text of it."""

    server: str
    ca: bytes | None = None


def certificate_user(pair: Pair) -> dict[str, str]:
    """The user entry of who logs in by client certificate."""
    certificate, key = pair.certificate.read_bytes(), pair.key.read_bytes()
    return {"client-certificate-data": _encode(certificate), "client-key-data": _encode(key)}


def write(path: Path, endpoint: Endpoint, user: dict[str, Any]) -> Path:
    """A kubeconfig with one context, readable by its owner only."""
    cluster: dict[str, Any] = {"server": endpoint.server}
    if endpoint.ca:
        cluster["certificate-authority-data"] = _encode(endpoint.ca)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "setpoint",
        "contexts": [{"name": "setpoint", "context": {"cluster": "setpoint", "user": "setpoint"}}],
        "clusters": [{"name": "setpoint", "cluster": cluster}],
        "users": [{"name": "setpoint", "user": user}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
    return path


def endpoint(path: Path) -> Endpoint:
    """Where the current context of a kubeconfig points to."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    if data := cluster.get("certificate-authority-data"):
        return Endpoint(cluster["server"], base64.b64decode(data))
    if file := cluster.get("certificate-authority"):
        return Endpoint(cluster["server"], (path.parent / file).read_bytes())
    return Endpoint(cluster["server"])


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
