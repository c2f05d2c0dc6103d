{{- define "polychat.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "polychat.labels" -}}
app.kubernetes.io/name: polychat
app.kubernetes.io/instance: {{ include "polychat.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- /* The labels by which one part is selected: (list . "gateway") */}}
{{- define "polychat.selector" -}}
app.kubernetes.io/name: polychat
app.kubernetes.io/instance: {{ include "polychat.name" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "polychat.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* A pod's own user: (uid) */}}
{{- define "polychat.pod" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile: {type: RuntimeDefault}
{{- end }}
