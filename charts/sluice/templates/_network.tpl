{{/* A NetworkPolicy peer that selects the pods of a component: (list $ component). */}}
{{- define "sluice.peer" -}}
- podSelector:
    matchLabels:
      {{- include "sluice.selectorLabels" . | nindent 6 }}
{{- end }}

{{/* TCP ports, by number, since not all network plugins support named ports. Call with a list. */}}
{{- define "sluice.ports" -}}
ports:
{{- range . }}
  - {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}

{{/* The pods that a policy applies to, for ingress and egress: (list $ component). */}}
{{- define "sluice.policy" -}}
podSelector:
  matchLabels:
    {{- include "sluice.selectorLabels" . | nindent 4 }}
policyTypes: [Ingress, Egress]
{{- end }}

{{- define "sluice.egress.dns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dnsPeers | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{- define "sluice.egress.database" -}}
- to:
    {{- if .Values.mysql.enabled }}
    {{- include "sluice.peer" (list . "mysql") | nindent 4 }}
    {{- else }}
    {{- toYaml .Values.networkPolicy.databasePeers | nindent 4 }}
    {{- end }}
  {{- include "sluice.ports" (list (include "sluice.database.port" .)) | nindent 2 }}
{{- end }}

{{- define "sluice.egress.objectStore" -}}
- to:
    {{- if .Values.s3.enabled }}
    {{- include "sluice.peer" (list . "s3") | nindent 4 }}
    {{- else }}
    {{- toYaml .Values.networkPolicy.objectStorePeers | nindent 4 }}
    {{- end }}
  {{- include "sluice.ports" (include "sluice.objectStore.ports" . | fromJsonArray) | nindent 2 }}
{{- if not (include "sluice.objectStore.secret" .) }}
# Credentials of an IAM role: the EKS Pod Identity Agent. (IRSA needs STS, on port 443.)
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  {{- include "sluice.ports" (list 80) | nindent 2 }}
{{- end }}
{{- end }}

{{/* The ports of S3, and 443 for STS and SQS if roles or notifications are used; a JSON list. */}}
{{- define "sluice.objectStore.ports" -}}
{{- $endpoint := include "sluice.objectStore.endpoint" . }}
{{- $default := ternary "80" "443" (hasPrefix "http://" $endpoint) }}
{{- $ports := list (int (default $default (regexFind ":[0-9]+(/|$)" $endpoint | trimPrefix ":" | trimSuffix "/"))) }}
{{- if or (not (include "sluice.objectStore.secret" .)) .Values.objectStore.role .Values.config.notifications_queue }}
{{- $ports = append $ports 443 }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{/* Ingress from Prometheus: (list $ port). */}}
{{- define "sluice.ingress.metrics" -}}
{{- with index . 0 }}
{{- if .Values.metrics.serviceMonitor.enabled }}
- from:
    {{- toYaml .Values.networkPolicy.metricsPeers | nindent 4 }}
  {{- include "sluice.ports" (list (index $ 1)) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
