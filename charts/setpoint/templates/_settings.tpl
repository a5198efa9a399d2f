{{/* Made by `python -m setpoint.codegen.generate`; do not edit. Which setting is whose says operator/setpoint/settings.py. */}}
{{- define "setpoint.settings.operator" -}}
{{- range $name, $value := pick (.Values.settings | default dict) "clusterId" "workers" "fetchConcurrency" "applyConcurrency" "allowFileUrls" "peopleManagers" "strictFields" "requestTimeout" "watchSilence" "maxYamlValues" "maxObjects" "maxRenderSize" "maxDiff" }}
- name: SETPOINT_{{ $name | snakecase | upper }}
  value: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else if kindIs "float64" $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
{{- end }}

{{- define "setpoint.settings.worker" -}}
{{- range $name, $value := pick (.Values.settings | default dict) "gitProcesses" "gitMemory" "gitAllowedHosts" "gitDeniedHosts" "readers" "readerMemory" "renderConcurrency" "renderTimeout" "renderMemory" "renderLibraries" "landlock" "kustomize" "allowFileUrls" "maxFileSize" "maxFolderEntries" "maxFiles" "maxInputSize" "maxDepth" "maxLinks" "maxYamlValues" "maxObjects" "maxObjectSize" "maxRenderSize" "maxPatterns" "maxPatternsSize" "maxFetchSize" "maxFetchUnpacked" "maxFetchObjects" "maxSubmodules" "maxReadSet" }}
- name: SETPOINT_{{ $name | snakecase | upper }}
  value: {{ if kindIs "slice" $value }}{{ join "," $value | quote }}{{ else if kindIs "float64" $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
{{- end }}

{{- define "setpoint.shares" -}}
{"base": 100663296, "scratch": 268435456, "readers": 3, "readerMemory": 536870912, "renderConcurrency": 3, "renderMemory": 536870912, "gitMemory": 402653184}
{{- end }}

{{- define "setpoint.shares.words" -}}
worker.resources.limits.memory is %d MiB, and less than the %d MiB that the parts of the worker may take at once: the broker and its launchers %d MiB, the cache in memory %d MiB (cache.size), /tmp %d MiB (settings.readers x 256 MiB), readers %d x %d MiB (settings.readers, settings.readerMemory), builds %d x %d MiB (settings.renderConcurrency, settings.renderMemory), Git processes %d MiB (settings.gitMemory). Raise the limit to %dMi, or lower one of these; where few namespaces have Syncs, fewer readers do
{{- end }}
