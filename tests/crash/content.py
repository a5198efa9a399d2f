"""What stands in Git while the operator is killed: three Syncs, whose objects change from phase to phase.

`one` has plain manifests, `two` a kustomization, `kept` is orphaned at its end. Values change with each commit, so that
every Sync has something to write at every commit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tests.crash.checks import Id, identify
from tests.kit.api import Json

SYNCS = ("one", "two", "kept")
ALLOW = {"annotations": {"setpoint.dev/prune": "allow"}}
NEVER = {"annotations": {"setpoint.dev/prune": "never"}}


def config(name: str, meta: Json | None = None, **data: str) -> Json:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **(meta or {})},
        "data": data,
    }


def deployment(name: str, image: str) -> Json:
    """A Deployment without pods, which is healthy where no node is."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": name, "image": image}]},
            },
        },
    }


def service(name: str, port: int) -> Json:
    """A Service without endpoints."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "protocol": "TCP"}]},
    }


def secret(name: str, value: str) -> Json:
    """A Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"token": value}}


def account(name: str) -> Json:
    """A ServiceAccount."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def namespace(name: str) -> Json:
    """A Namespace that a commit may delete."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **ALLOW}}


def fixed(name: str, value: str) -> Json:
    """A ConfigMap whose data may not change."""
    return {**config(name, k=value), "immutable": True}


def crd() -> Json:
    """A CustomResourceDefinition that a commit may delete."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.test.setpoint.dev", **ALLOW},
        "spec": {
            "group": "test.setpoint.dev",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def widget(name: str, size: int) -> Json:
    """An object of that kind."""
    return {
        "apiVersion": "test.setpoint.dev/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"size": size},
    }


@dataclass
class Content:
    """Sync -> file -> manifest; `files` gives what a commit must write to make Git equal it."""

    target: str
    syncs: dict[str, dict[str, Json]] = field(default_factory=dict)
    _written: dict[str, str] = field(default_factory=dict)

    def put(self, sync: str, *manifests: Json) -> None:
        """Add or change objects of a Sync."""
        for each in manifests:
            self.syncs.setdefault(sync, {})[_file(each)] = each

    def take(self, sync: str, kind: str, name: str) -> Json:
        """Remove an object from a Sync, and give it."""
        return self.syncs[sync].pop(f"{kind}-{name}.json".lower())

    def move(self, kind: str, name: str, old: str, new: str) -> None:
        """Move an object between Syncs."""
        self.put(new, self.take(old, kind, name))

    def objects(self, sync: str) -> dict[Id, Json]:
        """What the Sync's objects shall be."""
        return {identify(each, self.target): each for each in self.syncs.get(sync, {}).values()}

    def files(self) -> dict[str, str | None]:
        """What differs from the last commit: path -> content, None to delete."""
        new = {
            f"{sync}/{name}": json.dumps(m) for sync, found in self.syncs.items() for name, m in found.items()
        }
        if names := sorted(self.syncs.get("two", {})):
            new["two/kustomization.yaml"] = json.dumps({"resources": names})
        changes: dict[str, str | None] = {p: t for p, t in new.items() if self._written.get(p) != t}
        changes |= dict.fromkeys(self._written.keys() - new.keys())
        self._written = new
        return changes


def _file(manifest: Json) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}.json".lower()


def installed(content: Content, step: int) -> None:
    """Everything from the beginning."""
    content.syncs = {}
    content.put(
        "one", config("stamp-one", step=str(step)), *(config(f"a{n}", k="1", old="1") for n in range(4))
    )
    content.put("one", service("web", 80), account("web"), deployment("web", "web:1"), config("x", by="one"))
    content.put("one", config("guarded", NEVER, k="1"))
    content.put("two", config("stamp-two", step=str(step)), config("b0", k="1"), config("b1", k="1"))
    content.put("two", secret("pass", "b25l"), fixed("fixed", str(step)), config("y", by="two"))
    content.put("kept", config("stamp-kept", step=str(step)), config("c0", k="1"), config("c1", k="1"))


def stamped(content: Content, step: int) -> None:
    """Something new for each Sync, so that each must reach this commit."""
    for sync in content.syncs:
        content.put(sync, config(f"stamp-{sync}", step=str(step)))


def upgraded(content: Content, step: int) -> None:
    """Objects change, one is new, and one loses a field."""
    stamped(content, step)
    content.put("one", config("a0", k="2", old="1"), config("a1", k="2"), config("a9", k="1"))
    content.put("one", service("web", 8080), deployment("web", "web:2"))
    content.put("two", config("b0", k="2", more="1"), secret("pass", "dHdv"), account("job"))
    content.put("kept", config("c0", k="2"))


def with_kind(content: Content, _step: int) -> None:
    """A kind, and an object of it."""
    content.put("one", crd(), widget("w", 1))


def with_namespace(content: Content, _step: int) -> None:
    """A Namespace, and objects in it."""
    name = f"{content.target}-more"
    inside = [config("inside", {"namespace": name}, k="1"), config("inside2", {"namespace": name}, k="1")]
    content.put("one", namespace(name), *inside)


def with_immutable(content: Content, step: int) -> None:
    """An object changes that may not."""
    content.put("two", fixed("fixed", str(step)))


def pruned(content: Content, step: int) -> None:
    """Objects leave Git; `guarded` stays in the cluster, as its annotation says."""
    stamped(content, step)
    for name in [
        n for n in content.syncs["one"] if n.startswith(("widget-", "customresource", "namespace-"))
    ]:
        del content.syncs["one"][name]
    for name in [n for n in content.syncs["one"] if n.startswith("configmap-inside")]:
        del content.syncs["one"][name]
    for kind, name in (("ConfigMap", "a2"), ("ConfigMap", "guarded"), ("Service", "web")):
        content.take("one", kind, name)
    content.take("two", "ConfigMap", "b1")
    content.take("kept", "ConfigMap", "c1")


def handed_over(content: Content, step: int) -> None:
    """Objects move between Syncs; two of them change places."""
    stamped(content, step)
    content.move("ConfigMap", "x", "one", "two")
    content.move("ConfigMap", "y", "two", "one")
    content.move("ServiceAccount", "web", "one", "kept")
