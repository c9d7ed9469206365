{{/* The value of an environment variable. Helm parses integers from YAML as floats and would print large ones as 1e+06. */}}
{{- define "sluice.text" -}}
{{- if and (kindIs "float64" .) (eq (toString (floor .)) (toString .)) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "sluice.database.url" -}}
{{- if .Values.mysql.enabled }}
{{- printf "mysql://sluice@%s:3306/sluice" (include "sluice.host" (list . (include "sluice.mysql.name" .))) }}
{{- else }}{{ .Values.database.url }}{{ end }}
{{- end }}

{{/* The parts of mysql://user@host:port/schema. */}}
{{- define "sluice.database.user" -}}
{{- include "sluice.database.url" . | regexFind "//[^/@]+@" | trimPrefix "//" | trimSuffix "@" }}
{{- end }}
{{- define "sluice.database.address" -}}
{{- include "sluice.database.url" . | regexFind "@[^/@]+/" | trimPrefix "@" | trimSuffix "/" }}
{{- end }}
{{- define "sluice.database.host" }}{{ regexReplaceAll ":[0-9]+$" (include "sluice.database.address" .) "" }}{{ end }}
{{- define "sluice.database.port" -}}
{{- include "sluice.database.address" . | regexFind ":[0-9]+$" | trimPrefix ":" | default "3306" }}
{{- end }}
{{- define "sluice.database.schema" }}{{ include "sluice.database.url" . | regexFind "[^/]+$" }}{{ end }}

{{/* The Secret with the database's password. */}}
{{- define "sluice.database.secret" -}}
{{- if .Values.mysql.enabled }}{{ default (include "sluice.mysql.name" .) .Values.mysql.existingSecret }}
{{- else }}{{ default (include "sluice.database.name" .) .Values.database.existingSecret }}{{ end }}
{{- end }}

{{- define "sluice.database.passwordKey" -}}
{{- with .Values.database }}{{ if .existingSecret }}{{ .passwordKey }}{{ else }}password{{ end }}{{ end }}
{{- end }}

{{- define "sluice.env.database" -}}
{{- include "sluice.env.databaseWith" (list . (include "sluice.database.secret" .)) }}
{{- end }}

{{/* The database's environment variables with the password from another Secret: (list $ secret). */}}
{{- define "sluice.env.databaseWith" -}}
{{- $secret := index . 1 }}
{{- with index . 0 -}}
- {name: SLUICE_DATABASE_URL, value: {{ include "sluice.database.url" . | quote }}}
- name: SLUICE_DATABASE_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ include "sluice.database.passwordKey" . }}}
{{- if include "sluice.hasDatabaseCa" . }}
- {name: SLUICE_DATABASE_CA, value: {{ printf "/etc/sluice/database/%s" .Values.database.ca.key | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.hasDatabaseCa" -}}
{{- with .Values.database.ca }}{{ if or .existingConfigMap .existingSecret }}yes{{ end }}{{ end }}
{{- end }}

{{- define "sluice.mounts.database" -}}
{{- if include "sluice.hasDatabaseCa" . }}
- {name: database-ca, mountPath: /etc/sluice/database, readOnly: true}
{{- end }}
{{- end }}

{{- define "sluice.volumes.database" -}}
{{- with .Values.database.ca }}
{{- if .existingConfigMap }}
- name: database-ca
  configMap: {name: {{ .existingConfigMap }}, items: [{key: {{ .key }}, path: {{ .key }}}]}
{{- else if .existingSecret }}
- name: database-ca
  secret: {secretName: {{ .existingSecret }}, items: [{key: {{ .key }}, path: {{ .key }}}]}
{{- end }}
{{- end }}
{{- end }}

{{/* The Secret with the S3 access key; empty where pods use an IAM role. */}}
{{- define "sluice.objectStore.secret" -}}
{{- if .Values.s3.enabled }}{{ default (include "sluice.s3.name" .) .Values.s3.existingSecret }}
{{- else if .Values.objectStore.existingSecret }}{{ .Values.objectStore.existingSecret }}
{{- else if .Values.objectStore.accessKeyId }}{{ include "sluice.objectStore.name" . }}{{ end }}
{{- end }}

{{- define "sluice.objectStore.endpoint" -}}
{{- if .Values.s3.enabled }}http://{{ include "sluice.host" (list . (include "sluice.s3.name" .)) }}:7070
{{- else }}{{ .Values.objectStore.endpoint }}{{ end }}
{{- end }}

{{- define "sluice.env.objectStore" -}}
{{- with include "sluice.objectStore.endpoint" . }}
- {name: SLUICE_S3_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with ternary "us-east-1" .Values.objectStore.region .Values.s3.enabled }}
- {name: SLUICE_S3_REGION, value: {{ . | quote }}}
- {name: AWS_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .Values.objectStore.role }}
- {name: SLUICE_S3_ROLE, value: {{ . | quote }}}
{{- end }}
{{- with include "sluice.objectStore.secret" . }}
{{- $secret := . }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ . }}}
{{- end }}
{{- end }}
{{- /* Pods don't use the node's own role; IRSA and Pod Identity don't need this endpoint. `extraEnv` can override it. */}}
{{- $given := list }}
{{- range .Values.extraEnv }}{{ $given = append $given .name }}{{ end }}
{{- if not (has "AWS_EC2_METADATA_DISABLED" $given) }}
- {name: AWS_EC2_METADATA_DISABLED, value: "true"}
{{- end }}
{{- end }}

{{/* The environment variables that only the gateway has. */}}
{{- define "sluice.env.gateway" -}}
{{- $secret := include "sluice.gateway.secret" . }}
{{- with .Values.gateway -}}
- {name: SLUICE_TORCHSERVE, value: {{ include "sluice.torchserve.url" $ | quote }}}
{{- include "sluice.env.requests" $ }}
- {name: SLUICE_GATEWAY_BIND, value: "0.0.0.0:8000"}
- {name: SLUICE_GATEWAY_STORE, value: {{ include "sluice.gateway.store" $ | quote }}}
- {name: SLUICE_GATEWAY_ANONYMOUS, value: {{ .anonymous }}}
- {name: SLUICE_GATEWAY_KEEP_DAYS, value: {{ .keepDays | quote }}}
- {name: SLUICE_GATEWAY_SIGNUP, value: {{ .signup }}}
- {name: SLUICE_GATEWAY_CLASSIC, value: {{ .classic.enabled | quote }}}
- {name: SLUICE_GATEWAY_ADMIN, value: {{ .admin | quote }}}
- name: SLUICE_GATEWAY_ADMIN_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: admin-password}
- name: SLUICE_GATEWAY_KEY
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: key}
{{- with .url }}
- {name: SLUICE_GATEWAY_URL, value: {{ . | quote }}}
{{- end }}
{{- with .sources }}
- {name: SLUICE_GATEWAY_SOURCES, value: {{ join "," . | quote }}}
{{- end }}
{{- with .proxies }}
- {name: SLUICE_GATEWAY_PROXIES, value: {{ join "," . | quote }}}
{{- end }}
{{- with .oidc }}
{{- if .issuer }}
- {name: SLUICE_GATEWAY_OIDC_ISSUER, value: {{ .issuer | quote }}}
- {name: SLUICE_GATEWAY_OIDC_CLIENT, value: {{ .clientId | quote }}}
{{- if .existingSecret }}
- name: SLUICE_GATEWAY_OIDC_SECRET
  valueFrom:
    secretKeyRef: {name: {{ .existingSecret }}, key: clientSecret}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* How many requests to TorchServe are in flight: one for each worker of a pod, and one that waits. */}}
{{- define "sluice.env.requests" -}}
{{- if not (hasKey .Values.config "requests_in_flight") }}
- {name: SLUICE_REQUESTS_IN_FLIGHT, value: {{ include "sluice.torchserve.workers" . | int | max 1 | min 16 | add 1 | quote }}}
{{- end }}
{{- end }}

{{/* Worker processes of each model in a TorchServe's pod: set, or one on a GPU, or one for each core. */}}
{{- define "sluice.torchserve.workers" -}}
{{- with .Values.torchserve }}
{{- $cpu := default ((.resources.requests).cpu) ((.resources.limits).cpu) | toString }}
{{- $cores := hasSuffix "m" $cpu | ternary (div (trimSuffix "m" $cpu | int) 1000) ($cpu | float64 | floor) }}
{{- default (ternary 1 $cores .gpu.enabled) (int .workers) }}
{{- end }}
{{- end }}

{{/* The environment variables of producers, consumers, the gateway and agents: (list $ component-values). */}}
{{- define "sluice.env.worker" -}}
{{- $root := index . 0 }}{{ $values := index . 1 -}}
- name: SLUICE_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
{{ include "sluice.env.database" $root }}
{{- include "sluice.env.objectStore" $root }}
- {name: SLUICE_METRICS_HOST, value: "0.0.0.0"}
- {name: SLUICE_METRICS_PORT, value: "9100"}
{{- with $root.Values.models.store }}
- {name: SLUICE_MODEL_STORE, value: {{ . | quote }}}
{{- end }}
{{- include "sluice.env.config" $root }}
{{- with concat $root.Values.extraEnv $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The settings of `config`, with JSON logs by default. */}}
{{- define "sluice.env.config" -}}
{{- range $name, $value := merge (dict) .Values.config (dict "log_format" "json") }}
- {name: SLUICE_{{ upper $name }}, value: {{ include "sluice.text" $value | quote }}}
{{- end }}
{{- end }}
