{{/* The spec that all HorizontalPodAutoscalers share. Call with a component's autoscaling values. */}}
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

{{/* Where KEDA finds the database, unless a Secret says that: (list $ keda-values). */}}
{{- define "sluice.keda.database" -}}
{{- if not (index . 1).connectionSecret }}
{{- with index . 0 -}}
host: {{ include "sluice.database.host" . | quote }}
port: {{ include "sluice.database.port" . | quote }}
dbName: {{ include "sluice.database.schema" . | quote }}
username: {{ include "sluice.database.user" . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* How KEDA signs in to the database for a component: (list $ component name). */}}
{{- define "sluice.keda.authentication" -}}
{{- $root := index . 0 }}{{ $keda := (index $root.Values (index . 1)).keda -}}
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  {{- include "sluice.metadata" . | nindent 2 }}
spec:
  secretTargetRef:
    {{- if $keda.connectionSecret }}
    - {parameter: connectionString, name: {{ $keda.connectionSecret }}, key: connectionString}
    {{- else }}
    - parameter: password
      name: {{ include "sluice.database.secret" $root }}
      key: {{ include "sluice.database.passwordKey" $root }}
    {{- end }}
{{- end }}
