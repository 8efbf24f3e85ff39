{{- /* What the chart adds to the metadata of a definition. */}}
{{- define "portcullis.crd.metadata" -}}
labels:
  app.kubernetes.io/part-of: portcullis
  app.kubernetes.io/instance: {{ .Release.Name }}
{{- if .Values.crds.keep }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}
{{- end }}
