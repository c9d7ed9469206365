{{/*
A ServiceMonitor of one component: (list $ component name). Of the Services with these labels, the one with a port
`metrics` is read, and that is headless.
*/}}
{{- define "sluice.serviceMonitor" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $name := index . 2 }}
{{- with $root.Values.metrics.serviceMonitor -}}
{{- if .enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "sluice.metadata" (list $root $component $name) | nindent 2 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "sluice.selectorLabels" (list $root $component) | nindent 6 }}
  endpoints:
    - {port: metrics, path: /metrics, interval: {{ .interval }}}
{{- end }}
{{- end }}
{{- end }}
