{{/* Every shard's address. */}}
{{- define "sluice.producers" -}}
{{- $root := . }}{{ $name := include "sluice.producer.name" . }}{{ $addresses := list }}
{{- range until (int .Values.producer.shards) }}
{{- $addresses = append $addresses (printf "tcp://%s-%d.%s:5600" $name . (include "sluice.host" (list $root $name))) }}
{{- end }}
{{- join "," $addresses }}
{{- end }}

{{/* TorchServe's pods, each by its own address: connections through one address would stick to one pod. */}}
{{- define "sluice.torchserve.url" -}}
http://{{ include "sluice.host" (list . (include "sluice.torchservePods.name" .)) }}:8080
{{- end }}

{{/*
Pods begin anew when a Secret that the values made changes. Whoever reads the annotation is to learn no password by
trying a dictionary: scrypt makes each guess slow, this release's names make it good for one release only.
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
