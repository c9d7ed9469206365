{{/* The spec that both HorizontalPodAutoscalers share. Call with a component's autoscaling values. */}}
{{- define "sluice.autoscaling" -}}
minReplicas: {{ .minReplicas }}
maxReplicas: {{ .maxReplicas }}
metrics:
  {{- with .targetCPUUtilizationPercentage }}
  - type: Resource
    resource:
      name: cpu
      target: {type: Utilization, averageUtilization: {{ . }}}
  {{- end }}
  {{- with .metrics }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .behavior }}
behavior:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
