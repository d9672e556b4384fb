{{/* Name of the release's objects; a Service's name has room for 63 characters, and its endings take 15. */}}
{{- define "tiergarten.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change; the argument is (list $ component). The operator's own NetworkPolicies find the router by
name and component. */}}
{{- define "tiergarten.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: tiergarten
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "tiergarten.labels" -}}
{{- $root := index . 0 -}}
{{ include "tiergarten.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Reference of an image; the argument is (list $ name). Skaffold's tags end with a bare @ where nothing is pushed. */}}
{{- define "tiergarten.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- with $root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if or $image.tag (not $image.digest) }}:{{ $image.tag | default $root.Chart.AppVersion | trimSuffix "@" }}{{ end -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Namespaces that are served, as a JSON list; empty for all. */}}
{{- define "tiergarten.namespaces" -}}
{{- if .Values.allNamespaces -}}
{{- if .Values.namespaces -}}
{{- fail "allNamespaces is true and namespaces is not empty: leave one of them out" -}}
{{- end -}}
[]
{{- else -}}
{{- .Values.namespaces | default (list .Release.Namespace) | uniq | toJson -}}
{{- end -}}
{{- end -}}

{{/* `--namespace` for each namespace that is served. */}}
{{- define "tiergarten.namespaceArguments" -}}
{{- range include "tiergarten.namespaces" . | fromJsonArray }}
- --namespace={{ . }}
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the keys. */}}
{{- define "tiergarten.keys" -}}
{{- .Values.keys.existingSecret | default (include "tiergarten.fullname" .) -}}
{{- end -}}

{{/* Name of the port of the router's pods that answers probes and metrics. */}}
{{- define "tiergarten.opsPort" -}}
{{ ternary "ops" "http" (gt (int .Values.router.opsPort) 0) }}
{{- end -}}

{{/* A variable from a Secret; the argument is (list variable secret entry). */}}
{{- define "tiergarten.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end -}}

{{/* Settings as variables; the argument is (list path mapping others), where others names the value by which the chart
sets a setting itself. Whole numbers stay whole, lists and mappings become JSON. */}}
{{- define "tiergarten.settings" -}}
{{- $path := index . 0 }}
{{- $others := index . 2 }}
{{- range $name, $value := index . 1 }}
{{- with get $others $name }}
{{- fail (printf "%s.%s: the chart sets it; use %s" $path $name .) }}
{{- end }}
- name: TIERGARTEN_{{ upper $name }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
  value: {{ int64 $value | quote }}
{{- else if or (kindIs "map" $value) (kindIs "slice" $value) }}
  value: {{ toJson $value | quote }}
{{- else }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Restricted pod security. */}}
{{- define "tiergarten.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tiergarten.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where pods run; the argument is operator or router of the values. */}}
{{- define "tiergarten.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* A role and its binding in each namespace that is served; the argument is (list $ component rules). */}}
{{- define "tiergarten.rbac" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $name := printf "%s-%s" (include "tiergarten.fullname" $root) $component }}
{{- $labels := include "tiergarten.labels" (list $root $component) }}
{{- if $root.Values.allNamespaces }}
{{- $wide := printf "%s-%s" $root.Release.Namespace $name }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $wide }}
  labels: {{- $labels | nindent 4 }}
rules:
{{ index . 2 | trim }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $wide }}
  labels: {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $wide }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- $rules := index . 2 }}
{{- range include "tiergarten.namespaces" $root | fromJsonArray }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ . }}
  labels: {{- $labels | nindent 4 }}
rules:
{{ $rules | trim }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ . }}
  labels: {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end -}}
