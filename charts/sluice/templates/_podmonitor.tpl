{{/* A PodMonitor of one component: (list $ component name). */}}
{{- define "sluice.podMonitor" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $name := index . 2 }}
{{- with $root.Values.metrics.podMonitor -}}
{{- if .enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  {{- include "sluice.metadata" (list $root $component $name) | nindent 2 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "sluice.selectorLabels" (list $root $component) | nindent 6 }}
  podMetricsEndpoints:
    - {port: metrics, path: /metrics, interval: {{ .interval }}}
{{- end }}
{{- end }}
{{- end }}
