{{/*
The ServiceMonitor of a component: (list $ component name ports), without ports of `metrics`. Several Services may have
these labels; the headless one has the ports.
*/}}
{{- define "sluice.serviceMonitor" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $name := index . 2 }}
{{- $ports := list "metrics" }}{{ if gt (len .) 3 }}{{ $ports = index . 3 }}{{ end }}
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
    {{- range $ports }}
    - {port: {{ . }}, path: /metrics, interval: {{ $root.Values.metrics.serviceMonitor.interval }}}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}
