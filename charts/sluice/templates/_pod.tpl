{{/*
What every pod has: (list $ component component-values). No service account token, for no pod of ours talks to the API;
no service links, for Kubernetes would make settings of them: SLUICE_PRODUCER_PORT and the like.
*/}}
{{- define "sluice.pod" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $values := index . 2 -}}
enableServiceLinks: false
automountServiceAccountToken: false
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The nodes that a pod may go to: (list node-selector tolerations). */}}
{{- define "sluice.nodes" -}}
{{- with index . 0 }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with index . 1 }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Spread over nodes and zones, where possible, or as values say: (list $ component component-values). */}}
{{- define "sluice.spread" -}}
{{- $labels := include "sluice.selectorLabels" (list (index . 0) (index . 1)) | fromYaml }}
{{- $selector := dict "labelSelector" (dict "matchLabels" $labels) }}
{{- $wanted := list }}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
{{- $wanted = append $wanted (dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" "ScheduleAnyway") }}
{{- end }}
{{- $whole := list }}
{{- range default $wanted (index . 2).topologySpreadConstraints }}
{{- $whole = append $whole (merge (dict) . $selector) }}
{{- end -}}
topologySpreadConstraints:
  {{- toYaml $whole | nindent 2 }}
{{- end }}

{{/* A container's image, pull policy and security context: (list $ image-values). */}}
{{- define "sluice.container" -}}
image: {{ include "sluice.image" . }}
imagePullPolicy: {{ (index . 1).pullPolicy }}
securityContext:
  {{- toYaml (index . 0).Values.securityContext | nindent 2 }}
{{- end }}

{{/* Probes of producer and consumer: /live fails only when the event loop has stood still for a minute. */}}
{{- define "sluice.probes" -}}
startupProbe:
  httpGet: {path: /live, port: metrics}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /ready, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /live, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}

{{/* When the tables are made where the database is there already. */}}
{{- define "sluice.migrate.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* What it needs for it comes before. Only the job itself stays when it fails, to be read. */}}
{{- define "sluice.migrate.before" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
helm.sh/hook-weight: "-5"
{{- end }}

{{/* Where `helm test` may write; nothing if that isn't known. */}}
{{- define "sluice.test.source" -}}
{{- if .Values.test.source }}{{ .Values.test.source }}
{{- else if .Values.s3.enabled }}s3://{{ first .Values.s3.buckets }}/selftest/{{ end }}
{{- end }}

{{/* How a new version takes the place of the old; Kubernetes refuses rollingUpdate beside another type. */}}
{{- define "sluice.strategy" -}}
{{- $strategy := . }}
{{- if ne .type "RollingUpdate" }}{{ $strategy = omit . "rollingUpdate" }}{{ end }}
{{- toYaml $strategy }}
{{- end }}
