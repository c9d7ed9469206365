{{/* One alert: (list $ name for severity expression sentence). Its name is its heading in the runbook. */}}
{{- define "sluice.alert" -}}
{{- $root := index . 0 }}{{ $name := index . 1 -}}
- alert: {{ $name }}
  expr: {{ index . 4 | quote }}
  for: {{ index . 2 }}
  labels:
    severity: {{ index . 3 }}
  annotations:
    summary: {{ index . 5 | quote }}
    runbook_url: {{ printf "%s#%s" $root.Values.metrics.prometheusRule.runbook (lower $name) | quote }}
{{- end }}

{{/*
The alerts. Each says what is no longer so and would not mend by itself; what autoscalers, retries and redelivery mend
is none. `here` are this release's processes.
*/}}
{{- define "sluice.alerts" -}}
{{- $pods := printf "namespace=%q,pod=~\"%s-%%s-.+\"" .Release.Namespace (include "sluice.fullname" .) }}
{{- $producers := printf $pods "producer" }}
{{- $consumers := printf $pods "consumer" }}
{{- $here := printf $pods "(producer|consumer)" }}
{{ include "sluice.alert" (list . "SluiceShardWithoutProducer" "5m" "critical"
  (printf "(count(up{%s} == 1) or vector(0)) < %d" $producers (int .Values.producer.shards))
  "A shard has no producer: its part of every job stands still.") }}
{{ include "sluice.alert" (list . "SluiceWorkWithoutConsumers" "10m" "critical"
  (printf (print
    "sum(sluice_backlog{%s}) > 0 and "
    "sum(sluice_consumers{%s}) == 0") $producers $producers)
  "There is work, and no consumer asks for it.") }}
{{ include "sluice.alert" (list . "SluiceStalled" "15m" "critical"
  (printf (print
    "sum(sluice_in_flight{%s}) > 0 and "
    "(sum(rate(sluice_committed_total{%s}[10m])) or vector(0)) == 0") $producers $consumers)
  "Objects are leased, and no prediction is committed.") }}
{{ include "sluice.alert" (list . "SluiceTorchServeGone" "5m" "critical"
  (printf "max(sluice_endpoint_up{%s}) == 0" $consumers)
  "No TorchServe pod gives predictions back.") }}
{{ include "sluice.alert" (list . "SluiceTorchServeOverloaded" "30m" "warning"
  (printf (print
    "sum(rate(sluice_torchserve_requests_total{outcome=\"overloaded\",%s}[10m])) > "
    "0.5 * sum(rate(sluice_torchserve_requests_total{%s}[10m]))") $consumers $consumers)
  "TorchServe turns away most of what it is asked: it needs more replicas, or there are too many consumers.") }}
{{ include "sluice.alert" (list . "SluiceBatchesRefused" "15m" "warning"
  (printf "sum(rate(sluice_torchserve_requests_total{outcome=\"refused\",%s}[10m])) > 0" $consumers)
  "TorchServe refuses batches: a consumer and a model don't fit together.") }}
{{ include "sluice.alert" (list . "SluiceLedgerUnavailable" "5m" "critical"
  (printf "sum(rate(sluice_ledger_retries_total{cause=\"unavailable\",%s}[5m])) > 0.1" $here)
  "The database doesn't answer, is read-only or full: statements are tried again and again.") }}
{{ include "sluice.alert" (list . "SluiceRowsLocked" "5m" "warning"
  (printf "max(sluice_locked{%s}) > 0" $consumers)
  "Predictions can't be committed: a transaction that stays open has their rows locked.") }}
{{ include "sluice.alert" (list . "SluiceQuarantineGrows" "15m" "warning"
  (printf (print
    "sum(rate(sluice_quarantined_total{%s}[15m])) > "
    "0.05 * sum(rate(sluice_committed_total{%s}[15m]))") $here $consumers)
  "More than one image in twenty can't be classified.") }}
{{ include "sluice.alert" (list . "SluiceConsumersDie" "0m" "warning"
  (printf "sum(increase(sluice_quarantined_total{reason=\"killed_consumers\",%s}[1h])) > 0" $here)
  "An object was given up because consumers died of it, one after the other.") }}
{{ include "sluice.alert" (list . "SluiceWorkComesBack" "30m" "warning"
  (printf (print
    "sum(rate(sluice_redelivered_total{%s}[15m])) > "
    "0.2 * sum(rate(sluice_leased_total{%s}[15m]))") $producers $producers)
  "One object in five is handed out again: consumers die or fall silent all the time.") }}
{{ include "sluice.alert" (list . "SluiceFramesRejected" "0m" "warning"
  (printf "sum(increase(sluice_rejected_frames_total{%s}[15m])) > 0" $here)
  "Messages can't be understood: processes of different versions talk, or somebody else does.") }}
{{- end }}
