{{- /*
What the operator's objects are called. Within a namespace the names are fixed, as that of the operator's Lease is: Helm
refuses a second operator there, which would never lead.
*/}}
{{- define "portcullis.operator" -}}portcullis-operator{{- end }}

{{- define "portcullis.selector" -}}
app.kubernetes.io/name: {{ include "portcullis.operator" . }}
{{- end }}

{{- define "portcullis.labels" -}}
{{ include "portcullis.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: portcullis
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "portcullis.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "portcullis.operator" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* The operator, as a binding names it. */}}
{{- define "portcullis.subject" -}}
- kind: ServiceAccount
  name: {{ include "portcullis.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* An image's whole name, of a dict with `root` and `image`. */}}
{{- define "portcullis.image" -}}
{{- $registry := (.root.Values.global).imageRegistry | default .image.registry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .image.repository }}
{{- with .image.digest }}@{{ . }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}
