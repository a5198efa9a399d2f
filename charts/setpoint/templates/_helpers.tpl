{{- define "setpoint.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Short enough that every suffix below still fits into 63 characters. */}}
{{- define "setpoint.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- $name := include "setpoint.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "setpoint.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "setpoint.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "setpoint.adminName" -}}
{{ include "setpoint.fullname" . }}-admin
{{- end }}

{{- define "setpoint.redactionKeyName" -}}
{{- default (printf "%s-redaction-key" (include "setpoint.fullname" .)) .Values.redactionKey.existingSecret }}
{{- end }}

{{- define "setpoint.selectorLabels" -}}
app.kubernetes.io/name: {{ include "setpoint.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "setpoint.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "setpoint.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The namespaces that the operator looks at, its own among them; empty: all. */}}
{{- define "setpoint.namespaces" -}}
{{- if .Values.rbac.namespaces }}
{{- concat .Values.rbac.namespaces (list .Release.Namespace) | uniq | join "," }}
{{- end }}
{{- end }}

{{/* What the operator may list and watch: the table of the operator, or what rbac.watch says. */}}
{{- define "setpoint.watchRules" -}}
{{- if .Values.rbac.watch }}
{{- range .Values.rbac.watch }}
# From the value rbac.watch.
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: ["list", "watch"]
{{- end }}
{{- else }}
{{- include "setpoint.rules.watch" . }}
{{- end }}
{{- end }}

{{- define "setpoint.subject" -}}
- kind: ServiceAccount
  name: {{ include "setpoint.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "setpoint.image" -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
{{- end }}

{{/* The variables that both containers have. */}}
{{- define "setpoint.common" -}}
- name: SETPOINT_SAME_USER
  value: {{ .Values.worker.sameUser | quote }}
- name: SETPOINT_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: SETPOINT_LOG_FORMAT
  value: {{ .Values.logFormat }}
{{- end }}

{{/* The user of the operator's container, which the worker asks for; 0, which nobody has, where the platform chooses one for both. */}}
{{- define "setpoint.operatorUser" -}}
{{- $user := dig "runAsUser" (dig "runAsUser" nil (.Values.podSecurityContext | default dict)) (.Values.securityContext | default dict) }}
{{- if .Values.worker.sameUser }}
{{- 0 }}
{{- else if not $user }}
{{- fail "podSecurityContext.runAsUser names no user for the operator: the worker serves that user alone. Set it, or worker.sameUser where the platform chooses one user for both" }}
{{- else if eq (int64 $user) (int64 .Values.worker.user) }}
{{- fail (printf "operator and worker would both be user %d: change worker.user, or say worker.sameUser" (int64 $user)) }}
{{- else }}
{{- int64 $user }}
{{- end }}
{{- end }}

{{/* A quantity of Kubernetes in MiB, rounded down. */}}
{{- define "setpoint.mebibytes" -}}
{{- $units := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 }}
{{- $text := kindIs "float64" . | ternary (int64 (kindIs "float64" . | ternary . 0)) . | toString }}
{{- $unit := regexFind "[kMGT]?i?$" $text }}
{{- divf (mulf (float64 (trimSuffix $unit $text)) (get $units $unit)) 1048576.0 | floor | int64 }}
{{- end }}

{{/* Refuses a limit of the worker in which its parts have no room: what its volumes may hold, its process and one build. */}}
{{- define "setpoint.workerFits" -}}
{{- with dig "limits" "memory" "" (.Values.worker.resources | default dict) }}
{{- $limit := include "setpoint.mebibytes" . | int64 }}
{{- $cache := ternary (include "setpoint.mebibytes" $.Values.cache.size | int64) 0 (eq $.Values.cache.medium "Memory") }}
{{- $build := include "setpoint.mebibytes" (dig "renderMemory" "512Mi" ($.Values.settings | default dict)) | int64 }}
{{- $parts := add $cache 128 64 $build }}
{{- if lt $limit $parts }}
{{- fail (printf "worker.resources.limits.memory (%v) is less than its parts: the cache in memory %d Mi, /tmp 128 Mi, the process 64 Mi and one build %d Mi (settings.renderMemory) are %d Mi" . $cache $build $parts) }}
{{- end }}
{{- end }}
{{- end }}
