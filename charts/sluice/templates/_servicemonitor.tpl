{{/*
The ServiceMonitor of a component: (list $ component name). Several Services may have these labels; the headless one has
the port `metrics`.
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
