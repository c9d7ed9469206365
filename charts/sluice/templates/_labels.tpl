{{/*
The labels that select a component's pods. They must never change: the selectors of Deployments and StatefulSets are
immutable. Call with (list $ component).
*/}}
{{- define "sluice.selectorLabels" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* The labels of a resource: (list $ component). */}}
{{- define "sluice.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{ include "sluice.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A resource's name and labels: (list $ component name). */}}
{{- define "sluice.metadata" -}}
name: {{ index . 2 }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "sluice.labels" (list (index . 0) (index . 1)) | nindent 2 }}
{{- end }}

{{/* A pod's labels: (list $ component component-values). Without the version, which would restart unchanged pods. */}}
{{- define "sluice.podLabels" -}}
{{ include "sluice.selectorLabels" (list (index . 0) (index . 1)) }}
{{- with (index . 2).podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
