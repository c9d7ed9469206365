{{/* One alert: (list $ name for severity expression summary). Its name is its heading in the runbook. */}}
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
The alerts: problems that need a person. What autoscalers, retries and redelivery fix is not alerted on. `here` selects
this release's processes.
*/}}
{{- define "sluice.alerts" -}}
{{- $pods := printf "namespace=%q,pod=~\"%s-%%s-.+\"" .Release.Namespace (include "sluice.fullname" .) }}
{{- $producers := printf $pods "producer" }}
{{- $consumers := printf $pods "consumer" }}
{{- $gateways := printf $pods "gateway" }}
{{- $servers := printf $pods "torchserve" }}
{{- $trainers := printf $pods "trainer" }}
{{- $here := printf $pods "(producer|consumer|gateway|torchserve|trainer)" }}
{{ include "sluice.alert" (list . "SluiceShardWithoutProducer" "5m" "critical"
  (printf "(count(up{%s} == 1) or vector(0)) < %d" $producers (int .Values.producer.shards))
  "A shard has no producer: its part of every job is stopped.") }}
{{ include "sluice.alert" (list . "SluiceWorkWithoutConsumers" "10m" "critical"
  (printf (print
    "sum(sluice_backlog{%s}) > 0 and "
    "sum(sluice_consumers{%s}) == 0") $producers $producers)
  "Objects are pending, but no consumer is connected.") }}
{{ include "sluice.alert" (list . "SluiceStalled" "15m" "critical"
  (printf (print
    "sum(sluice_in_flight{%s}) > 0 and "
    "(sum(rate(sluice_committed_total{%s}[10m])) or vector(0)) == 0") $producers $consumers)
  "Objects are leased, but no predictions are being committed.") }}
{{ include "sluice.alert" (list . "SluiceTorchServeGone" "5m" "critical"
  (printf "max(sluice_endpoint_up{%s}) == 0" $consumers)
  "No TorchServe pod returns predictions.") }}
{{ include "sluice.alert" (list . "SluiceTorchServeOverloaded" "30m" "warning"
  (printf (print
    "sum(rate(sluice_torchserve_requests_total{outcome=\"overloaded\",%s}[10m])) > "
    "0.5 * sum(rate(sluice_torchserve_requests_total{%s}[10m]))") $consumers $consumers)
  "TorchServe rejects most requests: it needs more replicas, or there are too many consumers.") }}
{{ include "sluice.alert" (list . "SluiceBatchesRefused" "15m" "warning"
  (printf "sum(rate(sluice_torchserve_requests_total{outcome=\"refused\",%s}[10m])) > 0" $consumers)
  "TorchServe answers batches with errors of the model.") }}
{{ include "sluice.alert" (list . "SluiceLedgerUnavailable" "5m" "critical"
  (printf "sum(rate(sluice_ledger_retries_total{cause=\"unavailable\",%s}[5m])) > 0.1" $here)
  "The database is unreachable, read-only or full: statements are being retried.") }}
{{ include "sluice.alert" (list . "SluiceRowsLocked" "5m" "warning"
  (printf "max(sluice_locked{%s}) > 0" $consumers)
  "Predictions can't be committed: an open transaction has their rows locked.") }}
{{ include "sluice.alert" (list . "SluiceQuarantineGrows" "15m" "warning"
  (printf (print
    "sum(rate(sluice_quarantined_total{%s}[15m])) > "
    "0.05 * sum(rate(sluice_committed_total{%s}[15m]))") $here $consumers)
  "More than 5% of the images are quarantined.") }}
{{ include "sluice.alert" (list . "SluiceConsumersDie" "0m" "warning"
  (printf "sum(increase(sluice_quarantined_total{reason=\"killed_consumers\",%s}[1h])) > 0" $here)
  "An object was quarantined because three consumers died while working on it.") }}
{{ include "sluice.alert" (list . "SluiceWorkComesBack" "30m" "warning"
  (printf (print
    "sum(rate(sluice_redelivered_total{%s}[15m])) > "
    "0.2 * sum(rate(sluice_leased_total{%s}[15m]))") $producers $producers)
  "More than 20% of the objects are redelivered: consumers keep dying or falling silent.") }}
{{ include "sluice.alert" (list . "SluiceFramesRejected" "0m" "warning"
  (printf "sum(increase(sluice_rejected_frames_total{%s}[15m])) > 0" $here)
  "Invalid messages arrive: processes run different versions, or something else connects to the port.") }}
{{ include "sluice.alert" (list . "SluiceDrift" "0m" "warning"
  (printf "max by (model, statistic) (sluice_drift_alarm{%s}) == 1" $producers)
  "Pictures, labels or scores of a live model are no longer as they were when it became live.") }}
{{ include "sluice.alert" (list . "SluiceTrialWaits" "60m" "warning"
  (printf "max by (model) (sluice_trial{state=\"pending\",%s}) == 1" $producers)
  "A trial can't begin: its candidate isn't registered or served, or another trial of the model runs.") }}
{{- if .Values.gateway.enabled }}
{{ include "sluice.alert" (list . "SluiceGatewayGone" "5m" "critical"
  (printf "(count(up{%s} == 1) or vector(0)) == 0" $gateways)
  "No gateway runs: pages and API are unavailable.") }}
{{ include "sluice.alert" (list . "SluiceGatewayRefuses" "15m" "warning"
  (printf "sum(rate(sluice_gateway_refused_total{%s}[10m])) > 0.1" $gateways)
  "The gateway has been full for a quarter of an hour: it tells requests to come back later.") }}
{{ include "sluice.alert" (list . "SluiceGatewayKeepsTooLong" "180m" "warning"
  (printf "max(sluice_gateway_sweep_failed{%s}) == 1" $gateways)
  "Pictures and archives can't be removed though their time is over (config.gateway_keep_days).") }}
{{- end }}
{{- if .Values.models.store }}
{{ include "sluice.alert" (list . "SluiceVersionNotLoaded" "15m" "warning"
  (printf "max(sluice_wanted_versions{state=\"loading\",%s}) > 0" $servers)
  "A TorchServe pod doesn't serve a version that it should.") }}
{{- end }}
{{- if .Values.trainer.enabled }}
{{ include "sluice.alert" (list . "SluiceTrainingStalled" "30m" "warning"
  (printf (print
    "max(sluice_training_at_work{%s}) == 1 and "
    "(sum(rate(sluice_training_steps_total{%s}[30m])) or vector(0)) == 0") $trainers $trainers)
  "A training has come no further for half an hour.") }}
{{- if and (eq .Values.trainer.kind "Deployment") (not .Values.trainer.keda.enabled) .Values.trainer.replicas }}
{{ include "sluice.alert" (list . "SluiceTrainerGone" "15m" "warning"
  (printf "(count(up{%s} == 1) or vector(0)) == 0" $trainers)
  "No trainer runs: trainings wait.") }}
{{- end }}
{{ include "sluice.alert" (list . "SluiceTrainerKeepsTooLong" "180m" "warning"
  (printf "max(sluice_trainer_sweep_failed{%s}) == 1" $trainers)
  "The trainer can't remove what no training needs from the model store (config.trainer_keep_days).") }}
{{- end }}
{{- end }}
