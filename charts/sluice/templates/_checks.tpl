{{/* Fails on values that contradict each other, and names the value to set instead. */}}
{{- define "sluice.checks" -}}
{{- include "sluice.checks.names" . }}
{{- include "sluice.checks.labels" . }}
{{- include "sluice.checks.selectors" . }}
{{- include "sluice.checks.database" . }}
{{- include "sluice.checks.objectStore" . }}
{{- include "sluice.checks.autoscaling" (list "consumer" .Values.consumer) }}
{{- include "sluice.checks.autoscaling" (list "torchserve" .Values.torchserve) }}
{{- include "sluice.checks.autoscaling" (list "gateway" .Values.gateway) }}
{{- include "sluice.checks.gateway" . }}
{{- include "sluice.checks.consumer" . }}
{{- include "sluice.checks.torchserve" . }}
{{- include "sluice.checks.trainer" . }}
{{- include "sluice.checks.strategy" (list "consumer" .Values.consumer.strategy) }}
{{- include "sluice.checks.strategy" (list "torchserve" .Values.torchserve.strategy) }}
{{- include "sluice.checks.strategy" (list "gateway" .Values.gateway.strategy) }}
{{- include "sluice.checks.models" . }}
{{- include "sluice.checks.environment" (list "extraEnv" .Values.extraEnv) }}
{{- include "sluice.checks.environment" (list "producer.extraEnv" .Values.producer.extraEnv) }}
{{- include "sluice.checks.environment" (list "consumer.extraEnv" .Values.consumer.extraEnv) }}
{{- include "sluice.checks.environment" (list "gateway.extraEnv" .Values.gateway.extraEnv) }}
{{- include "sluice.checks.environment" (list "trainer.extraEnv" .Values.trainer.extraEnv) }}
{{- range list "producer" "consumer" "gateway" "trainer" }}
{{- $variables := include "sluice.env.worker" (list $ (index $.Values .)) | fromYamlArray }}
{{- include "sluice.checks.twice" (list . (printf "extraEnv or %s.extraEnv" .) $variables) }}
{{- end }}
{{- include "sluice.checks.twice" (list "torchserve" "torchserve.extraEnv" .Values.torchserve.extraEnv) }}
{{- if and .Values.curve.existingSecret (not .Values.curve.enabled) }}
{{- fail (print
  "curve.existingSecret is set, but nothing is encrypted: set curve.enabled=true, "
  "or leave curve.existingSecret empty") }}
{{- end }}
{{- if and .Values.metrics.prometheusRule.enabled (not .Values.metrics.serviceMonitor.enabled) }}
{{- fail (print
  "metrics.prometheusRule creates alerts on metrics that Prometheus doesn't scrape: "
  "set metrics.serviceMonitor.enabled=true, or metrics.prometheusRule.enabled=false") }}
{{- end }}
{{- if and .Values.serviceAccount.annotations (not .Values.serviceAccount.create) }}
{{- fail (print
  "serviceAccount.annotations has no effect, since no ServiceAccount is created: set serviceAccount.create=true, "
  "or annotate the existing ServiceAccount yourself") }}
{{- end }}
{{- end }}

{{- define "sluice.checks.database" -}}
{{- with .Values.database }}
{{- if $.Values.mysql.enabled }}
{{- if or .url .existingSecret .password .ca.existingConfigMap .ca.existingSecret }}
{{- fail (print
  "database.* describes an external database, but mysql.enabled=true starts another: "
  "set mysql.enabled=false, or leave database.* empty") }}
{{- end }}
{{- else }}
{{- if not .url }}
{{- fail "there is no database: set database.url=mysql://user@host:3306/database, or mysql.enabled=true to try out" }}
{{- end }}
{{- if regexMatch "^mysql://[^/@]*:[^/@]*@" .url }}
{{- fail (print
  "database.url contains a password, which would be visible in the pods: "
  "set database.existingSecret (or database.password) instead") }}
{{- end }}
{{- /* Not repeated in the message: part of it may be a password. */}}
{{- if not (regexMatch "^mysql://[^/@:]+@([^][/@:]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?/[^/?]+$" .url) }}
{{- fail "database.url is invalid: set it to mysql://user@host:3306/database" }}
{{- end }}
{{- if and .existingSecret .password }}
{{- fail "database.password and database.existingSecret are both set: leave database.password empty" }}
{{- end }}
{{- if not (or .existingSecret .password) }}
{{- fail (print
  "there is no database password: set database.existingSecret to a Secret that holds it under the key "
  "database.passwordKey (or set database.password)") }}
{{- end }}
{{- if and .ca.existingConfigMap .ca.existingSecret }}
{{- fail "database.ca.existingConfigMap and database.ca.existingSecret are both set: leave one empty" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.objectStore" -}}
{{- with .Values.objectStore }}
{{- if $.Values.s3.enabled }}
{{- if or .endpoint .region .role .existingSecret .accessKeyId .secretAccessKey }}
{{- fail (print
  "objectStore.* describes an external S3, but s3.enabled=true starts another: set s3.enabled=false, "
  "or leave objectStore.* empty") }}
{{- end }}
{{- else }}
{{- if and .existingSecret (or .accessKeyId .secretAccessKey) }}
{{- fail (print
  "objectStore.existingSecret and an access key are both set: "
  "leave objectStore.accessKeyId and objectStore.secretAccessKey empty") }}
{{- end }}
{{- if ne (empty .accessKeyId) (empty .secretAccessKey) }}
{{- fail "only half of the access key is set: set objectStore.accessKeyId and objectStore.secretAccessKey, or neither" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.autoscaling" -}}
{{- $name := index . 0 }}{{ $values := index . 1 }}
{{- with $values.autoscaling }}
{{- if .enabled }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- fail (printf (print
  "%s.autoscaling.minReplicas is greater than maxReplicas: "
  "set %s.autoscaling.maxReplicas to %d or more") $name $name (int .minReplicas)) }}
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .metrics) }}
{{- fail (printf (print
  "%s.autoscaling has no metric to scale by: "
  "set %s.autoscaling.targetCPUUtilizationPercentage or .metrics") $name $name) }}
{{- end }}
{{- if and .targetCPUUtilizationPercentage (not ($values.resources.requests).cpu) }}
{{- fail (printf (print
  "%s.autoscaling scales by CPU utilization, which needs a CPU request: "
  "set %s.resources.requests.cpu") $name $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.consumer" -}}
{{- with .Values.consumer }}
{{- if and .autoscaling.enabled .keda.enabled }}
{{- fail (print
  "consumer.autoscaling and consumer.keda can't both control the replicas: "
  "set consumer.autoscaling.enabled=false or consumer.keda.enabled=false") }}
{{- end }}
{{- if and .keda.enabled (gt (int .keda.minReplicas) (int .keda.maxReplicas)) }}
{{- fail (printf (print
  "consumer.keda.minReplicas is greater than maxReplicas: "
  "set consumer.keda.maxReplicas to %d or more") (int .keda.minReplicas)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.gateway" -}}
{{- with .Values.gateway }}
{{- if .enabled }}
{{- if not (include "sluice.gateway.store" $) }}
{{- fail (print
  "the gateway has no place to keep dropped pictures: set gateway.store=s3://bucket/prefix/ (it may write there), "
  "or gateway.enabled=false") }}
{{- end }}
{{- if and .oidc.issuer (not .oidc.clientId) }}
{{- fail "gateway.oidc.issuer is set: set gateway.oidc.clientId to the id that the issuer has for the gateway" }}
{{- end }}
{{- if and (or .oidc.clientId .oidc.existingSecret) (not .oidc.issuer) }}
{{- fail "gateway.oidc.clientId or existingSecret is set: set gateway.oidc.issuer, or leave both empty" }}
{{- end }}
{{- if and .oidc.issuer (not .url) }}
{{- fail "gateway.oidc.issuer is set: set gateway.url, the address that the issuer sends people back to" }}
{{- end }}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) }}
{{- fail "gateway.httpRoute has no Gateway to attach to: set gateway.httpRoute.parentRefs=[{name: …}]" }}
{{- end }}
{{- if and (ne .service.type "LoadBalancer") .service.loadBalancerSourceRanges }}
{{- fail (print
  "gateway.service.loadBalancerSourceRanges needs a load balancer: set gateway.service.type=LoadBalancer, "
  "or networkPolicy.gatewayPeers for peers in the cluster") }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.torchserve" -}}
{{- with .Values.torchserve }}
{{- if and (eq .modelStore.type "pvc") (not .modelStore.claim) }}
{{- fail (print
  "torchserve.modelStore.type is pvc: "
  "set torchserve.modelStore.claim to the PersistentVolumeClaim with the archives") }}
{{- end }}
{{- if and (eq .modelStore.type "s3") (not .modelStore.url) }}
{{- fail (print
  "torchserve.modelStore.type is s3: set torchserve.modelStore.url to the prefix with the archives, "
  "s3://bucket/models/") }}
{{- end }}
{{- if and .modelStore.claim (ne .modelStore.type "pvc") }}
{{- fail "torchserve.modelStore.claim is set: set torchserve.modelStore.type=pvc, or leave the claim empty" }}
{{- end }}
{{- if and .modelStore.url (ne .modelStore.type "s3") }}
{{- fail "torchserve.modelStore.url is set: set torchserve.modelStore.type=s3, or leave the URL empty" }}
{{- end }}
{{- if and (ne .service.type "LoadBalancer") (or .service.loadBalancerClass .service.loadBalancerSourceRanges) }}
{{- fail (print
  "torchserve.service.loadBalancerClass and loadBalancerSourceRanges need a load balancer: "
  "set torchserve.service.type=LoadBalancer") }}
{{- end }}
{{- if ge (int .preStopSeconds) (int .terminationGracePeriodSeconds) }}
{{- fail (printf (print
  "torchserve.preStopSeconds leaves no time to shut down: "
  "set torchserve.terminationGracePeriodSeconds to more than %d") (int .preStopSeconds)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.trainer" -}}
{{- with .Values.trainer }}
{{- if .enabled }}
{{- if not $.Values.models.store }}
{{- fail "the trainer has no place for what it makes: set models.store=s3://bucket/prefix/, or trainer.enabled=false" }}
{{- end }}
{{- if and .keda.enabled (eq .kind "Job") }}
{{- fail (print
  "trainer.keda scales a Deployment, and with trainer.kind=Job there is none: set trainer.kind=Deployment, "
  "or trainer.keda.enabled=false") }}
{{- end }}
{{- else if .keda.enabled }}
{{- fail "trainer.keda scales a trainer, and there is none: set trainer.enabled=true, or trainer.keda.enabled=false" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.models" -}}
{{- $versions := dict }}{{ $live := dict }}
{{- range .Values.torchserve.models }}
{{- $version := printf "%s@%s" .name .version }}
{{- if hasKey $versions $version }}
{{- fail (printf "torchserve.models has %s twice: give each its own name and version" $version) }}
{{- end }}
{{- $_ := set $versions $version true }}
{{- if .live }}
{{- if hasKey $live .name }}
{{- fail (printf (print
  "torchserve.models marks both %s and %s as live: "
  "set live on one version of %s") (get $live .name) $version .name) }}
{{- end }}
{{- $_ := set $live .name $version }}
{{- end }}
{{- end }}
{{- if gt (len $live) 1 }}
{{- fail (printf (print
  "torchserve.models marks %s as live, and jobs that name no model could not choose: "
  "set live on one model, and name the others with `sluice submit --model`") (values $live | sortAlpha | join " and ")) }}
{{- end }}
{{- end }}

{{- define "sluice.checks.environment" -}}
{{- $where := index . 0 }}
{{- range index . 1 }}
{{- if and (hasPrefix "SLUICE_" .name) (ne .name "SLUICE_TORCHSERVE_TOKEN") }}
{{- fail (printf (print
  "%s has %s, which is a setting: set config.%s, "
  "or the chart's own value for it") $where .name (.name | trimPrefix "SLUICE_" | lower)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.twice" -}}
{{- $component := index . 0 }}{{ $where := index . 1 }}{{ $seen := dict }}
{{- range index . 2 }}
{{- if hasKey $seen .name }}
{{- fail (printf (print
  "%s has the environment variable %s twice: remove it from %s where another value sets it "
  "(objectStore.*, extraEnv)") $component .name $where) }}
{{- end }}
{{- $_ := set $seen .name true }}
{{- end }}
{{- end }}

{{/* Names of Services are DNS labels that start with a letter (RFC 1035): no dots. */}}
{{- define "sluice.checks.names" -}}
{{- $name := include "sluice.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- fail (printf (print
  "resource names would start with %q, but Kubernetes allows only a-z, 0-9 and -, and a letter first: "
  "set fullnameOverride, or give the release another name") $name) }}
{{- end }}
{{- end }}

{{/* Selectors use labels that the chart sets. A second value would be a duplicate key, of which either might be used. */}}
{{- define "sluice.checks.labels" -}}
{{- $own := list }}
{{- range list "name" "instance" "component" "version" "managed-by" }}
{{- $own = append $own (printf "app.kubernetes.io/%s" .) }}
{{- end }}
{{- $own = append $own "helm.sh/chart" }}
{{- $given := dict "commonLabels" .Values.commonLabels }}
{{- range list "producer" "consumer" "gateway" "torchserve" "trainer" "mysql" "s3" }}
{{- $_ := set $given (printf "%s.podLabels" .) (index $.Values .).podLabels }}
{{- end }}
{{- range list "serviceMonitor" "prometheusRule" "dashboard" }}
{{- $_ := set $given (printf "metrics.%s.labels" .) (index $.Values.metrics .).labels }}
{{- end }}
{{- range $where, $labels := $given }}
{{- range $label, $_ := $labels }}
{{- if has $label $own }}
{{- fail (printf "%s has %s, which the chart sets itself: remove it from %s" $where $label $where) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.checks.strategy" -}}
{{- $name := index . 0 }}
{{- with index . 1 }}
{{- if and (ne .type "Recreate") .rollingUpdate }}
{{- if and (regexMatch "^0+%?$" (toString .rollingUpdate.maxSurge)) (regexMatch "^0+%?$" (toString .rollingUpdate.maxUnavailable)) }}
{{- fail (printf (print
  "%s.strategy.rollingUpdate allows neither an additional nor an unavailable pod: "
  "set %s.strategy.rollingUpdate.maxSurge or %s.strategy.rollingUpdate.maxUnavailable to 1 or more") $name $name $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Finds workloads of an earlier chart, whose selectors lacked app.kubernetes.io/name. Selectors are immutable, and
Kubernetes' own error doesn't say what to do. The pods have the label, so the new workloads adopt them.
*/}}
{{- define "sluice.checks.selectors" -}}
{{- range $kind := list "Deployment" "StatefulSet" }}
{{- range $component := list "producer" "consumer" "torchserve" "mysql" "s3" }}
{{- $found := lookup "apps/v1" $kind $.Release.Namespace (include (printf "sluice.%s.name" $component) $) }}
{{- if and $found (not (index $found.spec.selector.matchLabels "app.kubernetes.io/name")) }}
{{- fail (printf (print
  "the %s %s was created by an earlier chart: its selector lacks app.kubernetes.io/name, and selectors are immutable. "
  "Delete the Deployments and StatefulSets of this release, which leaves their pods running, then run the "
  "same helm command again:\n\n    kubectl --namespace %s delete deployment,statefulset --cascade=orphan "
  "--selector app.kubernetes.io/instance=%s,app.kubernetes.io/name=%s\n\n"
  "See docs/upgrades.md.")
  $kind $found.metadata.name $.Release.Namespace $.Release.Name $.Chart.Name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
