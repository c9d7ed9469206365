{{/*
Fields that all pods share: (list $ component component-values). No ServiceAccount token, since no pod uses the
Kubernetes API; no service links, since variables like SLUICE_PRODUCER_PORT would look like settings.
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

{{/* Node selector and tolerations: (list node-selector tolerations). */}}
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

{{/* A component's resources, node selector and tolerations, with what its `gpu` adds: a YAML object. Call with its values. */}}
{{- define "sluice.gpu" -}}
{{- $resources := deepCopy .resources }}{{ $selector := .nodeSelector }}{{ $tolerations := .tolerations }}
{{- if .gpu.enabled }}
{{- $gpus := dict .gpu.resource (int .gpu.count) }}
{{- $resources = merge (dict "limits" $gpus "requests" (deepCopy $gpus)) $resources }}
{{- $selector = merge (dict) .gpu.nodeSelector $selector }}
{{- $tolerations = concat .gpu.tolerations $tolerations }}
{{- end }}
{{- dict "resources" $resources "nodeSelector" $selector "tolerations" $tolerations | toYaml }}
{{- end }}

{{/* Topology spread constraints; by default over nodes and zones, where possible: (list $ component component-values). */}}
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

{{/* Probes of all processes but TorchServe. /live fails only if the event loop has been blocked for a minute. */}}
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

{{/* The hook of the migration job, for an external database. */}}
{{- define "sluice.migrate.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* The hook of what the migration job needs; created before it, and deleted even if it fails (the job itself stays). */}}
{{- define "sluice.migrate.before" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
helm.sh/hook-weight: "-5"
{{- end }}

{{/* The S3 prefix that `helm test` writes to; empty if there is none. */}}
{{- define "sluice.test.source" -}}
{{- if .Values.test.source }}{{ .Values.test.source }}
{{- else if .Values.s3.enabled }}s3://{{ first .Values.s3.buckets }}/selftest/{{ end }}
{{- end }}

{{/* The update strategy. Kubernetes rejects rollingUpdate with any other type. */}}
{{- define "sluice.strategy" -}}
{{- $strategy := . }}
{{- if ne .type "RollingUpdate" }}{{ $strategy = omit . "rollingUpdate" }}{{ end }}
{{- toYaml $strategy }}
{{- end }}

{{/*
The pod management of a StatefulSet: (list $ name). With OrderedReady, Kubernetes never replaces a pod that doesn't become
ready, so a wrong image could not be corrected by an upgrade. It can't be changed: one that exists keeps what it has.
*/}}
{{- define "sluice.podManagement" -}}
{{- $found := lookup "apps/v1" "StatefulSet" (index . 0).Release.Namespace (index . 1) -}}
podManagementPolicy: {{ dig "spec" "podManagementPolicy" "Parallel" (default dict $found) }}
{{- end }}
