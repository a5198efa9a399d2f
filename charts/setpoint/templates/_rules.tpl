{{/* Made by `python -m setpoint.codegen.generate`; do not edit. The table is operator/setpoint/codegen/rbac.py. */}}
{{- define "setpoint.rules.cluster" -}}
# The uid of kube-system identifies the cluster; it also distinguishes a missing or terminating namespace from other errors.
- apiGroups: [""]
  resources: ["namespaces"]
  verbs: ["get", "list", "watch"]
# A new kind is waited for until it is established; a Sync whose own CRD is going away is orphaned, never pruned.
- apiGroups: ["apiextensions.k8s.io"]
  resources: ["customresourcedefinitions"]
  verbs: ["get", "list", "watch"]
# Whether a claim is bound only when a Pod mounts it: then no wave waits for it. Watched while a claim is not bound.
- apiGroups: ["storage.k8s.io"]
  resources: ["storageclasses"]
  verbs: ["list", "watch"]
# Proves to the attribution policy, and to readers of audit logs, that a request is Setpoint's. It grants nothing else. Give it to nobody else.
- apiGroups: ["authentication.k8s.io"]
  resources: ["userextras/setpoint.dev/operator"]
  verbs: ["impersonate"]
{{- end }}

{{- define "setpoint.rules.own" -}}
# What the operator works for; it writes their finalizer only.
- apiGroups: ["setpoint.dev"]
  resources: ["sources", "syncs"]
  verbs: ["get", "list", "watch", "patch"]
# The record of desired versus actual.
- apiGroups: ["setpoint.dev"]
  resources: ["sources/status", "syncs/status"]
  verbs: ["patch"]
# Events on Sources and Syncs.
- apiGroups: [""]
  resources: ["events"]
  verbs: ["create", "patch"]
# Credentials that a Source names in `secretRef`.
- apiGroups: [""]
  resources: ["secrets"]
  verbs: ["get"]
# Distinguishes a ServiceAccount that does not exist from one without rights.
- apiGroups: [""]
  resources: ["serviceaccounts"]
  verbs: ["get"]
{{- end }}

{{- define "setpoint.rules.watch" -}}
# Drift is seen by watching objects with our label. It lets the operator's account read every object, Secrets too: RBAC cannot tell labels apart.
- apiGroups: ["*"]
  resources: ["*"]
  verbs: ["list", "watch"]
{{- end }}

{{- define "setpoint.rules.impersonate" -}}
# Every write, and every read of a managed object, is done as the ServiceAccount of the Sync.
- apiGroups: [""]
  resources: ["serviceaccounts"]
  verbs: ["impersonate"]
{{- end }}

{{- define "setpoint.rules.release" -}}
# Leader election; RBAC cannot restrict the creation to a name.
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  verbs: ["create"]
# Leader election: waiting processes watch the lease, so that a released one passes on at once.
- apiGroups: ["coordination.k8s.io"]
  resources: ["leases"]
  resourceNames: [{{ include "setpoint.fullname" . | quote }}]
  verbs: ["get", "watch", "patch"]
# The key that turns values of Secrets into hashes.
- apiGroups: [""]
  resources: ["secrets"]
  resourceNames: [{{ include "setpoint.redactionKeyName" . | quote }}]
  verbs: ["get"]
# Syncs without `serviceAccountName` in the admin namespaces act as this account.
- apiGroups: [""]
  resources: ["serviceaccounts"]
  resourceNames: [{{ include "setpoint.adminName" . | quote }}]
  verbs: ["get", "impersonate"]
{{- end }}
