{{/* The pods of one component as a peer: (list $ component). */}}
{{- define "sluice.peer" -}}
- podSelector:
    matchLabels:
      {{- include "sluice.selectorLabels" . | nindent 6 }}
{{- end }}

{{/* Ports of pods, all TCP. Called with a list of numbers: not every network plugin knows the names. */}}
{{- define "sluice.ports" -}}
ports:
{{- range . }}
  - {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}

{{/* Whose pods the policy is for, and both directions: (list $ component). */}}
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
# Credentials of a role: the agent of EKS pod identity (IRSA asks STS, on 443).
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  {{- include "sluice.ports" (list 80) | nindent 2 }}
{{- end }}
{{- end }}

{{/* The ports of S3, and of STS and SQS where AWS is asked for a role or notifications; a JSON list. */}}
{{- define "sluice.objectStore.ports" -}}
{{- $endpoint := include "sluice.objectStore.endpoint" . }}
{{- $default := ternary "80" "443" (hasPrefix "http://" $endpoint) }}
{{- $ports := list (int (default $default (regexFind ":[0-9]+(/|$)" $endpoint | trimPrefix ":" | trimSuffix "/"))) }}
{{- if or (not (include "sluice.objectStore.secret" .)) .Values.objectStore.role .Values.config.notifications_queue }}
{{- $ports = append $ports 443 }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{/* Whoever reads metrics: (list $ port). */}}
{{- define "sluice.ingress.metrics" -}}
{{- with index . 0 }}
{{- if .Values.metrics.serviceMonitor.enabled }}
- from:
    {{- toYaml .Values.networkPolicy.metricsPeers | nindent 4 }}
  {{- include "sluice.ports" (list (index $ 1)) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
