{{/* The addresses of all producer shards, comma-separated. */}}
{{- define "sluice.producers" -}}
{{- $root := . }}{{ $name := include "sluice.producer.name" . }}{{ $addresses := list }}
{{- range until (int .Values.producer.shards) }}
{{- $addresses = append $addresses (printf "tcp://%s-%d.%s:5600" $name . (include "sluice.host" (list $root $name))) }}
{{- end }}
{{- join "," $addresses }}
{{- end }}

{{/* TorchServe's headless Service: keep-alive connections through a cluster IP would stick to one pod. */}}
{{- define "sluice.torchserve.url" -}}
http://{{ include "sluice.host" (list . (include "sluice.torchservePods.name" .)) }}:8080
{{- end }}

{{/* Where dropped pictures are kept; nothing where that isn't known. */}}
{{- define "sluice.gateway.store" -}}
{{- if .Values.gateway.store }}{{ .Values.gateway.store }}
{{- else if .Values.s3.enabled }}s3://{{ first .Values.s3.buckets }}/sluice/{{ end }}
{{- end }}

{{/* The name, and port where it isn't the usual one, that people reach the gateway at; nothing where it takes any. */}}
{{- define "sluice.gateway.netloc" }}{{ .Values.gateway.url | trimSuffix "/" | regexFind "//[^/]+$" | trimPrefix "//" }}{{ end }}
{{- define "sluice.gateway.host" }}{{ regexReplaceAll ":[0-9]+$" (include "sluice.gateway.netloc" .) "" }}{{ end }}

{{- define "sluice.gateway.secret" -}}
{{- default (include "sluice.gateway.name" .) .Values.gateway.existingSecret }}
{{- end }}

{{/*
Restarts pods when a Secret created from the values changes. The hash must not reveal a password to a dictionary attack:
scrypt makes each guess slow, and the salt limits a guess to one release.
*/}}
{{- define "sluice.checksum" -}}
{{- $secrets := list .Values.database.password .Values.objectStore.accessKeyId .Values.objectStore.secretAccessKey }}
{{- $slow := "" }}
{{- if compact $secrets }}
{{- $salt := list .Release.Namespace .Release.Name (include "sluice.fullname" .) | join "/" }}
{{- $slow = derivePassword 1 "maximum" (toJson $secrets) $salt "checksum/secrets" }}
{{- end -}}
checksum/secrets: {{ sha256sum $slow | trunc 8 | quote }}
{{- end }}
