{{/* Names, labels and decisions on values that several templates share. */}}

{{- define "taskqueue.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Room is left for the longest suffix of an object ("-operator" and the like). */}}
{{- define "taskqueue.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "taskqueue.serviceAccountName" -}}
{{- default (printf "%s-operator" (include "taskqueue.fullname" .)) .Values.serviceAccount.name -}}
{{- end -}}

{{/* <release>-redis, so that the address can be told from the release's name alone. */}}
{{- define "taskqueue.redis.name" -}}
{{- printf "%s-redis" (default .Release.Name .Values.fullnameOverride | trunc 52 | trimSuffix "-") -}}
{{- end -}}

{{/* The Secret with the try-out Redis' users and the operator's URL. It does not end in -redis, as those of TaskQueues do. */}}
{{- define "taskqueue.redis.secretName" -}}
{{- default (printf "%s-auth" (include "taskqueue.redis.name" .)) .Values.redis.auth.existingSecret.name -}}
{{- end -}}

{{/* Not empty when the default URL comes from a Secret: then the operator hands it on by Secrets of its own. */}}
{{- define "taskqueue.redis.hasCredentials" -}}
{{- if or .Values.redis.enabled .Values.redis.existingSecret.name }}yes{{ end -}}
{{- end -}}

{{/* JSON: the Deployment and the StatefulSet of this release, which no TaskQueue may scale. */}}
{{- define "taskqueue.ownWorkloads" -}}
{{- $names := list (printf "%s-operator" (include "taskqueue.fullname" .)) -}}
{{- if .Values.redis.enabled }}{{ $names = append $names (include "taskqueue.redis.name" .) }}{{ end -}}
{{- toJson $names -}}
{{- end -}}

{{- define "taskqueue.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "taskqueue.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: taskqueue
{{- end -}}

{{/* Selectors: never change them between versions, a Deployment's selector is immutable. */}}
{{- define "taskqueue.operator.selector" -}}
app.kubernetes.io/name: {{ include "taskqueue.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "taskqueue.redis.selector" -}}
app.kubernetes.io/name: {{ include "taskqueue.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: redis
{{- end -}}

{{/* Takes a dict: image (repository, tag and digest) and appVersion (the tag when both are empty). */}}
{{- define "taskqueue.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .appVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What the restricted pod security standard asks of a pod. */}}
{{- define "taskqueue.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What it asks of a container, and a root file system that cannot be written. */}}
{{- define "taskqueue.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: ["ALL"]
{{- end -}}
