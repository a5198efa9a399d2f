"""The objects that a pod names, in whatever way it may name them (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from setpoint.health.verdict import Object, items, mapping, text

Name = tuple[str, str]
"""Kind and name of an object in the namespace of the pod."""

CONFIG_MAP, SECRET, CLAIM, ACCOUNT = "ConfigMap", "Secret", "PersistentVolumeClaim", "ServiceAccount"
KINDS = frozenset({CONFIG_MAP, SECRET, CLAIM, ACCOUNT})
"""The kinds of the core group that a pod may name."""
LONGEST_NAME = 253
"""Of any object: a longer one can be written into a pod template, and names nothing."""
_DEFAULT_ACCOUNT = "default"


def names_in(spec: Object, pod: str = "") -> frozenset[Name]:
    """Return what a pod's spec names; `pod` is the pod's name, which its ephemeral claims are called after.

    An optional reference does not count: the pod starts without the object, and its author said that this is fine.
    """
    return frozenset(pair for pair in _named(spec, pod) if 0 < len(pair[1]) <= LONGEST_NAME)


def _named(spec: Object, pod: str) -> Iterator[Name]:
    yield ACCOUNT, text(spec, "serviceAccountName") or text(spec, "serviceAccount") or _DEFAULT_ACCOUNT
    for secret in items(spec, "imagePullSecrets"):
        yield SECRET, text(secret, "name")
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in items(spec, kind):
            yield from _by_container(container)
    for volume in items(spec, "volumes"):
        yield from _by_volume(volume)
        if pod and "ephemeral" in volume:
            yield CLAIM, f"{pod}-{text(volume, 'name')}"


def _by_container(container: Object) -> Iterator[Name]:
    for source in items(container, "envFrom"):
        yield CONFIG_MAP, _needed(mapping(source, "configMapRef"), "name")
        yield SECRET, _needed(mapping(source, "secretRef"), "name")
    for variable in items(container, "env"):
        source = mapping(variable, "valueFrom")
        yield CONFIG_MAP, _needed(mapping(source, "configMapKeyRef"), "name")
        yield SECRET, _needed(mapping(source, "secretKeyRef"), "name")


def _by_volume(volume: Object) -> Iterator[Name]:
    yield CONFIG_MAP, _needed(mapping(volume, "configMap"), "name")
    yield CLAIM, text(mapping(volume, "persistentVolumeClaim"), "claimName")
    for source in items(mapping(volume, "projected"), "sources"):
        yield CONFIG_MAP, _needed(mapping(source, "configMap"), "name")
        yield SECRET, _needed(mapping(source, "secret"), "name")
    claim = mapping(volume, "ephemeral", "volumeClaimTemplate", "spec")
    for key in ("dataSource", "dataSourceRef"):
        if text(mapping(claim, key), "kind") == CLAIM:
            yield CLAIM, text(mapping(claim, key), "name")
    # Each type of volume that needs a Secret names it in one of these ways: azureFile and secret in the first, csi in
    # the last, and cephfs, cinder, flexVolume, iscsi, rbd, scaleIO and storageos in between.
    for source in volume.values():
        yield SECRET, _needed(mapping(source), "secretName")
        yield SECRET, text(mapping(source, "secretRef"), "name")
        yield SECRET, text(mapping(source, "nodePublishSecretRef"), "name")


def _needed(reference: Object, key: str) -> str:
    """Return the name in a reference; empty if the pod starts without the object."""
    return "" if reference.get("optional") is True else text(reference, key)
