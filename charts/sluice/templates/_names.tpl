{{/* The prefix of all names. It is short because a name with the suffixes of Kubernetes must fit into 63 characters. */}}
{{- define "sluice.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $name = default $name .Values.fullnameOverride }}
{{- if gt (len $name) 35 }}{{ printf "%s-%s" (regexReplaceAll "-+$" (trunc 26 $name) "") (sha256sum $name | trunc 8) }}
{{- else }}{{ $name }}{{ end }}
{{- end }}

{{- define "sluice.producer.name" }}{{ include "sluice.fullname" . }}-producer{{ end }}
{{- define "sluice.consumer.name" }}{{ include "sluice.fullname" . }}-consumer{{ end }}
{{- define "sluice.gateway.name" }}{{ include "sluice.fullname" . }}-gateway{{ end }}
{{- define "sluice.gatewayPods.name" }}{{ include "sluice.fullname" . }}-gateway-pods{{ end }}
{{- define "sluice.gatewayTest.name" }}{{ include "sluice.fullname" . }}-gateway-test{{ end }}
{{- define "sluice.torchserve.name" }}{{ include "sluice.fullname" . }}-torchserve{{ end }}
{{- define "sluice.torchservePods.name" }}{{ include "sluice.fullname" . }}-torchserve-pods{{ end }}
{{- define "sluice.trainer.name" }}{{ include "sluice.fullname" . }}-trainer{{ end }}
{{- define "sluice.mysql.name" }}{{ include "sluice.fullname" . }}-mysql{{ end }}
{{- define "sluice.s3.name" }}{{ include "sluice.fullname" . }}-s3{{ end }}
{{- define "sluice.migrate.name" }}{{ include "sluice.fullname" . }}-migrate{{ end }}
{{- define "sluice.register.name" }}{{ include "sluice.fullname" . }}-register{{ end }}
{{- define "sluice.test.name" }}{{ include "sluice.fullname" . }}-test{{ end }}
{{- define "sluice.dashboard.name" }}{{ include "sluice.fullname" . }}-dashboard{{ end }}
{{- define "sluice.database.name" }}{{ include "sluice.fullname" . }}-database{{ end }}
{{- define "sluice.objectStore.name" }}{{ include "sluice.fullname" . }}-object-store{{ end }}
{{- define "sluice.curve.name" -}}
{{- default (printf "%s-curve" (include "sluice.fullname" .)) .Values.curve.existingSecret }}
{{- end }}

{{/* The ServiceAccount of the pods that may access S3 by a role. */}}
{{- define "sluice.serviceAccount.name" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "sluice.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{/* A Service's DNS name, which resolves in all namespaces. Call with (list $ name). */}}
{{- define "sluice.host" -}}
{{- $root := index . 0 }}{{ index . 1 }}.{{ $root.Release.Namespace }}.svc
{{- end }}

{{/* An image: (list $ image-values). The registry defaults to `image.registry`, the tag to the chart's appVersion. */}}
{{- define "sluice.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 }}
{{- with default $root.Values.image.registry $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end }}
{{- end }}
