{{/* Made by `python -m setpoint.codegen.generate`; do not edit. Which setting is whose says operator/setpoint/settings.py. */}}
{{- define "setpoint.settings.operator" -}}
{{- range $name, $value := pick (.Values.settings | default dict) "clusterId" "workers" "fetchConcurrency" "applyConcurrency" "allowFileUrls" "peopleManagers" "strictFields" "requestTimeout" "watchSilence" "maxDiff" }}
- name: SETPOINT_{{ $name | snakecase | upper }}
  value: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else if kindIs "float64" $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
{{- end }}

{{- define "setpoint.settings.worker" -}}
{{- range $name, $value := pick (.Values.settings | default dict) "gitProcesses" "gitAllowedHosts" "gitDeniedHosts" "renderConcurrency" "renderTimeout" "renderMemory" "renderLibraries" "landlock" "kustomize" "allowFileUrls" "maxFileSize" "maxFolderEntries" "maxFiles" "maxInputSize" "maxDepth" "maxLinks" "maxYamlValues" "maxObjects" "maxObjectSize" "maxRenderSize" "maxPatterns" "maxPatternsSize" "maxFetchSize" "maxFetchUnpacked" "maxFetchObjects" "maxSubmodules" "maxReadSet" }}
- name: SETPOINT_{{ $name | snakecase | upper }}
  value: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else if kindIs "float64" $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
{{- end }}
