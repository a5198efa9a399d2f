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

{{/* A quantity of Kubernetes in bytes, rounded up as the kubelet does. */}}
{{- define "setpoint.bytes" -}}
{{- $units := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 }}
{{- $text := toString . }}
{{- if kindIs "float64" . }}
{{- $text = int64 . | toString }}
{{- end }}
{{- $unit := regexFind "([KMGTP]i|[mkMGTP])$" $text }}
{{- $number := trimSuffix $unit $text }}
{{- if not (regexMatch "^[0-9]+([.][0-9]*)?([eE][+-]?[0-9]+)?$" $number) }}
{{- fail (printf "%s is no quantity of memory; write 512Mi or 4Gi" $text) }}
{{- end }}
{{- mulf (float64 $number) (get $units $unit) | ceil | int64 }}
{{- end }}

{{/* The bytes of the worker's /tmp, in which each reader has its folder. */}}
{{- define "setpoint.tmp" -}}
{{- $shares := merge (deepCopy (.Values.settings | default dict)) (include "setpoint.shares" . | fromJson) }}
{{- mul (int64 $shares.readers) (int64 $shares.scratch) }}
{{- end }}

{{/* Refuses a limit of the worker in which its parts have no room: the same sum as operator/setpoint/worker/shares.py. */}}
{{- define "setpoint.workerFits" -}}
{{- with dig "limits" "memory" "" (.Values.worker.resources | default dict) }}
{{- $limit := include "setpoint.bytes" . | int64 }}
{{- $shares := merge (deepCopy ($.Values.settings | default dict)) (include "setpoint.shares" $ | fromJson) }}
{{- $base := int64 $shares.base }}
{{- $tmp := include "setpoint.tmp" $ | int64 }}
{{- $cache := ternary (include "setpoint.bytes" $.Values.cache.size | int64) (int64 0) (eq $.Values.cache.medium "Memory") }}
{{- $reader := include "setpoint.bytes" $shares.readerMemory | int64 }}
{{- $build := include "setpoint.bytes" $shares.renderMemory | int64 }}
{{- $git := include "setpoint.bytes" $shares.gitMemory | int64 }}
{{- $readers := int64 $shares.readers }}
{{- $builds := int64 $shares.renderConcurrency }}
{{- $needed := add $base $cache $tmp (mul $readers $reader) (mul $builds $build) $git }}
{{- if lt $limit $needed }}
{{- $mib := list }}
{{- range list $needed $base $cache $tmp $reader $build $git }}
{{- $mib = append $mib (div (add . 1048575) 1048576) }}
{{- end }}
{{- fail (printf (include "setpoint.shares.words" $) (div $limit 1048576) (index $mib 0) (index $mib 1) (index $mib 2) (index $mib 3) $readers (index $mib 4) $builds (index $mib 5) (index $mib 6) (index $mib 0)) }}
{{- end }}
{{- end }}
{{- end }}
