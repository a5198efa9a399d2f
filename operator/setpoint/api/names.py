"""Names used on objects and in the API: group, labels, annotations, finalizer, field manager."""

from __future__ import annotations

GROUP = "setpoint.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "setpoint"
FINALIZER = f"{GROUP}/finalizer"

LABEL_SYNC = f"{GROUP}/sync"
ANNOTATION_OWNER = f"{GROUP}/owner"
ANNOTATION_PRUNE = f"{GROUP}/prune"
ANNOTATION_ADOPT = f"{GROUP}/adopt"
ANNOTATION_WAVE = f"{GROUP}/wave"
ANNOTATION_REQUESTED = f"{GROUP}/requested"
ANNOTATION_ENCRYPTED = f"{GROUP}/encrypted"
# Ours alone, on a nested Sync: the Sync whose commit dropped it, written just before it is deleted for that.
ANNOTATION_DROPPED_BY = f"{GROUP}/dropped-by"
ANNOTATION_CHANGED_BY = f"{GROUP}/changed-by"
ANNOTATION_CHANGED_FROM = f"{GROUP}/changed-from"

PEOPLES_ANNOTATIONS = frozenset({ANNOTATION_REQUESTED, ANNOTATION_PRUNE, ANNOTATION_ADOPT})
"""What people may set on a live object, whoever's it is: it is no drift and stays, unless Git sets it itself.

All others of the group are Git's (wave, hook, encrypted) or ours (owner): what people make of those is corrected.
"""

# Written by `kubectl apply`: holds the whole object, Secret values included, so it is dropped on receipt.
ANNOTATION_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Written by `kubectl rollout restart`: an operation, not configuration; removing it would restart the pods again.
ANNOTATION_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

# Who impersonates with this extra is Setpoint: the right to do so is the proof, and its value is for readers of audit logs.
OPERATOR_EXTRA = f"{GROUP}/operator"
# What the attribution policy adds to `changed-from` where somebody else wrote under our name.
UNDER_OUR_NAME = f" as {FIELD_MANAGER}"

# The fields that Git's adopted objects had from people, under a manager of their own: see `fields.adopted`.
ADOPTED_MANAGER = "setpoint-adopted"
OUR_MANAGERS = frozenset({FIELD_MANAGER, ADOPTED_MANAGER})
