{{- /*
All that the operator may do. A new right is a line here, and rbac.yaml puts it where it belongs. tests/tests/api_rights.rs
runs the operator with exactly these: they are enough, and none is idle.
*/}}

{{- /* In the namespaces that it looks after. */}}
{{- define "portcullis.rights.watched" -}}
- apiGroups: [portcullis.dev]
  resources: [gateways]
  verbs: [list, watch]
# Writing them is for callers of a Gateway's API.
- apiGroups: [portcullis.dev]
  resources: [tunnels]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [portcullis.dev]
  resources: [gateways/status, tunnels/status]
  verbs: [patch]
# Owner references that block deletion need this where the admission plugin for it is on.
- apiGroups: [portcullis.dev]
  resources: [gateways/finalizers, tunnels/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [secrets, configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Only used where a Gateway has spec.pki.ca.issuerRef. Whether a request is approved is for cert-manager's approvers to say.
- apiGroups: [cert-manager.io]
  resources: [certificaterequests]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- /* On kinds that are in no namespace; none of them with watchNamespaces. */}}
{{- define "portcullis.rights.cluster" -}}
{{ include "portcullis.rights.reviews" . }}
# Only used where a Gateway takes Tunnels by the labels of their namespaces, or of all.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}

{{- /* With watchNamespaces, only where rbac.accessReviews says so: it tells what anybody may do anywhere. */}}
{{- define "portcullis.rights.reviews" -}}
# What callers of a Gateway's API may do, where spec.tunnels.authorization is Kubernetes.
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}

{{- /* In its own namespace: the Lease, and the control channel's authority. */}}
{{- define "portcullis.rights.own" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [portcullis-operator]
  verbs: [get, update]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [portcullis-control-ca]
  verbs: [get, create, patch]
{{- end }}
