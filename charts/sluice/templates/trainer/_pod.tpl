{{/*
The pod of a trainer: (list $ restart-policy arguments). It runs in TorchServe's image, which has PyTorch and what archives
are made of.
*/}}
{{- define "sluice.trainer.template" -}}
{{- $root := index . 0 }}{{ $values := $root.Values.trainer }}
{{- $gpu := include "sluice.gpu" $values | fromYaml }}
{{- $cpu := "" }}
{{- if ($values.resources.requests).cpu }}{{ $cpu = "requests.cpu" }}{{ end }}
{{- if ($values.resources.limits).cpu }}{{ $cpu = "limits.cpu" }}{{ end -}}
metadata:
  labels:
    {{- include "sluice.podLabels" (list $root "trainer" $values) | nindent 4 }}
  annotations:
    {{- include "sluice.checksum" $root | nindent 4 }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "sluice.pod" (list $root "trainer" $values) | nindent 2 }}
  {{- include "sluice.nodes" (list $gpu.nodeSelector $gpu.tolerations) | nindent 2 }}
  {{- if and $values.gpu.enabled $values.gpu.runtimeClassName }}
  runtimeClassName: {{ $values.gpu.runtimeClassName }}
  {{- end }}
  serviceAccountName: {{ default (include "sluice.serviceAccount.name" $root) $values.serviceAccountName }}
  restartPolicy: {{ index . 1 }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  containers:
    - name: trainer
      {{- include "sluice.container" (list $root $root.Values.torchserve.image) | nindent 6 }}
      # The image's entry point starts TorchServe.
      command: [tini, --, python, -m, trainer]
      {{- with index . 2 }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        {{- if and $cpu (not (hasKey $root.Values.config "decode_threads")) }}
        - name: SLUICE_DECODE_THREADS
          valueFrom:
            resourceFieldRef: {containerName: trainer, resource: {{ $cpu }}, divisor: "1"}
        {{- end }}
        {{- include "sluice.env.worker" (list $root $values) | nindent 8 }}
      ports:
        - {name: metrics, containerPort: 9100}
      {{- include "sluice.probes" $root | nindent 6 }}
      resources:
        {{- toYaml $gpu.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- include "sluice.mounts.database" $root | nindent 8 }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: {{ $values.scratchSize }}}
    {{- include "sluice.volumes.database" $root | nindent 4 }}
{{- end }}
