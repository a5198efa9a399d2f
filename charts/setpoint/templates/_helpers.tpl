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
