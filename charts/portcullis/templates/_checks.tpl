{{- /*
What values.schema.json cannot say in words, or cannot see: what a text must look like, and values that do not fit together.
*/}}

{{- define "portcullis.checked" -}}
{{- $registry := "a host, with a port and a path where there is one, such as registry.example:5000/team" }}
{{- $images := dict "image" .Values.image "gateway.image" .Values.gateway.image "connector.image" .Values.connector.image }}
{{- $host := `^([A-Za-z0-9._-]+(:[0-9]+)?(/[a-z0-9._-]+)*)?$` }}
{{- include "portcullis.must" (list "global.imageRegistry" ((.Values.global).imageRegistry | default "") $host $registry) }}
{{- range $path, $image := $images }}
{{- include "portcullis.must" (list (printf "%s.registry" $path) .registry $host $registry) }}
{{- include "portcullis.must" (list (printf "%s.repository" $path) .repository `^[a-z0-9]+([._/-]+[a-z0-9]+)*$` "a name without registry and tag, such as portcullis-operator") }}
{{- include "portcullis.must" (list (printf "%s.tag" $path) .tag `^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$` "a tag such as v1.2.3") }}
{{- include "portcullis.must" (list (printf "%s.digest" $path) .digest `^(sha256:[0-9a-f]{64})?$` "sha256: and 64 hexadecimal digits") }}
{{- end }}
{{- $label := `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$` }}
{{- $name := `^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$` }}
{{- range $at, $it := .Values.watchNamespaces }}
{{- include "portcullis.must" (list (printf "watchNamespaces[%d]" $at) $it $label "the name of a namespace, such as shop") }}
{{- end }}
{{- range $at, $it := .Values.imagePullSecrets }}
{{- include "portcullis.must" (list (printf "imagePullSecrets[%d].name" $at) .name $name "the name of a Secret, such as registry") }}
{{- end }}
{{- include "portcullis.must" (list "logLevel" .Values.logLevel `^[A-Za-z0-9_:=,./-]+$` "a level such as info, or directives such as info,portcullis_operator=debug") }}
{{- include "portcullis.must" (list "tracing.endpoint" .Values.tracing.endpoint `^(https?://[^\s/?#@]+:[0-9]+/?)?$` "where a collector takes OTLP by gRPC, such as http://collector.monitoring:4317") }}
{{- include "portcullis.must" (list "trustDomain" .Values.trustDomain `^[a-z0-9.-]+$` "a name of a-z, 0-9, '-' and '.', such as cluster.local") }}
{{- include "portcullis.must" (list "clusterDomain" .Values.clusterDomain $name "a DNS name, such as cluster.local") }}
{{- include "portcullis.must" (list "serviceAccount.name" .Values.serviceAccount.name (printf "^$|%s" $name) "the name of a ServiceAccount, such as portcullis-operator") }}
{{- include "portcullis.must" (list "priorityClassName" .Values.priorityClassName (printf "^$|%s" $name) "the name of a PriorityClass, such as system-cluster-critical") }}
{{- range $label := keys (include "portcullis.selector" . | fromYaml) }}
{{- if hasKey $.Values.podLabels $label }}
{{- fail (printf "podLabels: the operator's pods are found by %s: leave it out" $label) }}
{{- end }}
{{- end }}
{{- $budget := .Values.podDisruptionBudget }}
{{- $amount := `^([0-9]+|(100|[0-9]{1,2})%)$` }}
{{- include "portcullis.must" (list "podDisruptionBudget.maxUnavailable" (toString $budget.maxUnavailable) $amount "a number such as 1, or a percentage such as 50%") }}
{{- include "portcullis.must" (list "podDisruptionBudget.minAvailable" (toString $budget.minAvailable) (printf "^$|%s" $amount) "a number such as 1, or a percentage such as 50%") }}
{{- if and $budget.enabled (regexMatch `^[0-9]+$` (toString $budget.minAvailable)) }}
{{- if and (ge (int $budget.minAvailable) (int .Values.replicaCount)) (gt (int .Values.replicaCount) 0) }}
{{- fail (printf "podDisruptionBudget.minAvailable is %v of %v replicas, so that no node could ever be drained: write less, or more replicas" $budget.minAvailable .Values.replicaCount) }}
{{- end }}
{{- end }}
{{- include "portcullis.must" (list "metrics.prometheusRules.runbooks" .Values.metrics.prometheusRules.runbooks `^https?://[^\s]+$` "an address such as https://portcullis.dev/runbooks") }}
{{- range $path, $monitor := pick .Values.metrics "serviceMonitor" "podMonitor" }}
{{- include "portcullis.must" (list (printf "metrics.%s.interval" $path) .interval `^([0-9]+(h|m|s|ms))+$` "a time such as 30s") }}
{{- end }}
{{- include "portcullis.must" (list "oidc.issuer" .Values.oidc.issuer `^(https://[^\s?#]+)?$` "the address that the provider calls itself, such as https://login.example.com/realms/shop") }}
{{- if and (include "portcullis.answered" .Values.oidc) (not (include "portcullis.asks" .Values.gateways)) }}
{{- fail "oidc is set, and no Gateway of gateways has spec.oidc: write spec: {oidc: {}} where it is meant, or leave oidc out" }}
{{- end }}
{{- range $list := list "gateways" "tunnels" }}
{{- $seen := dict }}
{{- range $at, $it := index $.Values $list }}
{{- $namespace := .namespace | default $.Release.Namespace }}
{{- include "portcullis.must" (list (printf "%s[%d].name" $list $at) .name $label "a name of a-z, 0-9 and '-', such as door") }}
{{- include "portcullis.must" (list (printf "%s[%d].namespace" $list $at) $namespace $label "the name of a namespace, such as shop") }}
{{- if and $.Values.watchNamespaces (not (has $namespace $.Values.watchNamespaces)) }}
{{- fail (printf "%s[%d].namespace is %s, which the operator does not look after: add it to watchNamespaces, or write %s" $list $at $namespace (join " or " $.Values.watchNamespaces)) }}
{{- end }}
{{- $key := printf "%s/%s" $namespace .name }}
{{- if hasKey $seen $key }}
{{- fail (printf "%s[%d] is %s, which is there already: write another name or namespace" $list $at $key) }}
{{- end }}
{{- $_ := set $seen $key true }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Something where a default for OIDC is set. */}}
{{- define "portcullis.answered" -}}
{{ .issuer }}{{ .audience }}{{ .clientId }}
{{- end }}

{{- /* Something where a Gateway of these takes defaults for OIDC. */}}
{{- define "portcullis.asks" -}}
{{- range . }}{{ if kindIs "map" ((.spec).oidc) }}x{{ end }}{{ end }}
{{- end }}

{{- /* Refuses a text that is not as it must be: path, text, pattern, and what to write. */}}
{{- define "portcullis.must" -}}
{{- if not (regexMatch (index . 2) (index . 1)) }}
{{- fail (printf "%s is %q: write %s" (index . 0) (index . 1) (index . 3)) }}
{{- end }}
{{- end }}
